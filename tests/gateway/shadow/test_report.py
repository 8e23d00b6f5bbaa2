"""What is said of a shadow, with its numbers."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from gateway.shadow.report import Report, Seen, percent, report, reports, seconds
from routing.match import Match, Route, RouteTable, Use
from routing.shadow.tally import Ledger, Pace
from tests.gateway.shadow.shadowed import LIVE, NEXT, SHADOW, ledger, shown


def test_the_same() -> None:
    """Known after some 1 100 pairs without a difference."""
    found = shown(1200, 0.0)
    assert ("same", 0) == (found.verdict, found.more)
    assert "no field differs beyond the primary's noise in more than 1 % of the questions" == found.why


def test_different() -> None:
    """Which field, how often, and what promotion would change."""
    found = shown(600, 0.05)
    assert ("different", "label") == (found.verdict, found.fields[0].field)
    assert "label differs in 6.33 % of the questions, the primary from itself in 0 % (600 pairs)" == found.why
    label, cost, *_ = found.promotion.split("; ")
    assert "label is otherwise in about 6.33 % more of the answers than now by noise" == label
    assert "a row costs 60, not 40" == cost
    assert {"7 → 9": 38} == found.fields[0].flips


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        ((30, 30, 3, 3), "nothing that was seen here"),
        ((30, 20, 9, 3), "nothing that was seen here"),  # looks slower, and chance does that
        ((60, 10, 0, 0), "answers come later: p50 "),
        ((30, 30, 14, 0), "answers come later: p50 "),  # in the tail alone
        ((10, 60, 0, 0), "answers come sooner: p50 "),
        ((10, 60, 14, 0), "answers come sooner as a rule and much later at times: p50 "),
    ],
)
def test_chance_makes_nobody_slower(pace: tuple[int, int, int, int], said: str) -> None:
    """What promotion would do to latency is said when it is known, not when two quantiles are apart."""
    seen = ledger(200, 0.0)
    seen.tallies[0].pace = Pace(*pace)
    found = report("digits", SHADOW, (NEXT, None), seen)
    assert any(each.what == "p99" and each.ratio != 1 for each in found.compared)
    assert found.promotion.startswith(said)


def test_noise_is_no_difference() -> None:
    """However much there is; how many more questions would tell is said."""
    found = shown(1200, 0.3, 0.3)
    assert "not enough" == found.verdict
    assert 10_000 < found.more < 1_000_000
    assert f"1 of 2 fields undecided after 1,200 pairs; about {found.more:,} more mirrored questions would tell" == found.why


def test_without_second_answers_nothing_is_known() -> None:
    """Raw differences alone are never a verdict."""
    found = shown(600, 0.5, pairs=False)
    assert ("not enough", "no question has been answered by both yet") == (found.verdict, found.why)


def test_nothing_yet() -> None:
    """A shadow of which nothing was seen has a report, too."""
    found = report("digits", SHADOW, (NEXT, None), None)
    assert ("not enough", 0, "", ()) == (found.verdict, found.questions, found.began, found.fields)


def test_counts() -> None:
    """Drawn are those that were mirrored and those that were not."""
    found = shown(100, 0.0)
    assert (101, 100, 1, 100, 100) == (found.drawn, found.mirrored, found.dropped, found.questions, found.pairs)
    assert [("cost", 4000.0, 6000.0, 1.5)] == [
        (each.what, each.primary, each.candidate, each.ratio) for each in found.compared if each.what == "cost"
    ]


def test_of_several_processes() -> None:
    """One report for each shadow of the policy; what was counted under other rules is left out."""
    table = RouteTable("digits", (Route("default", Match(), Use(LIVE), 1.0),), shadows=((SHADOW, NEXT),))
    seen = [
        Seen("digits", "dark", ledger(30, 0.0)),
        Seen("digits", "dark", ledger(40, 0.0)),
        Seen("gone", "dark", ledger(1, 0.0)),
    ]
    (found,) = reports({"digits": table}, seen)
    assert (70, "live", "next") == (found.questions, found.of, found.to)
    old = [Seen("digits", "dark", replace_epoch(ledger(30, 0.0)))]
    assert [0] == [each.questions for each in reports({"digits": table}, old)]


def replace_epoch(of: Ledger) -> Ledger:
    return replace(of, epoch="old")


def test_it_travels_as_json() -> None:
    """As the admin API gives it and the command takes it."""
    found = shown(50, 0.5)
    assert found == msgspec.json.decode(msgspec.json.encode(found), type=Report)


@pytest.mark.parametrize(("value", "text"), [(0.012, "1.2 %"), (1.0, "100 %"), (0.0003, "0.03 %")])
def test_shares(value: float, text: str) -> None:
    """As people write them."""
    assert text == percent(value)


def test_durations() -> None:
    """As people write them."""
    assert ["3.21 ms", "1.4 s"] == [seconds(0.00321), seconds(1.4)]
