"""Conditions and requests in words."""

from __future__ import annotations

import pytest

from gateway.configuration.schema_tests import Caller, Request
from gateway.review.words import all_asked, asked, counted, duration, had, missed, request, share
from routing.explain import Finding

TIER = Finding("tier", "gold", "free", False)
ROWS = Finding("rows", "4..", 6, True)
NONE = Finding("header.x-a", "1", None, False)


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (TIER, "tier is 'free', wanted gold"),
        (NONE, "has no header.x-a, wanted 1"),
        (Finding("parameter.p", "1", True, False), "parameter.p is true, wanted 1"),
        (Finding("bytes", "1MiB..", 1536, False), "bytes is 1536B, wanted 1MiB.."),
        (Finding("bytes", "1MiB..", 4096, False), "bytes is 4KiB, wanted 1MiB.."),
        (Finding("not", "", None, False, ((ROWS,),)), "rows 4.. holds, and must not"),
        (Finding("any", "", None, False, ((TIER, ROWS), (NONE,))), "none of its 'any' holds (tier is 'free', wanted gold; "
         "has no header.x-a, wanted 1)"),
        (Finding("all", "", None, False, ((TIER, NONE), (ROWS,))), "not all of its 'all' holds (tier is 'free', wanted gold"
         " and has no header.x-a, wanted 1)"),
    ],
)  # fmt: skip
def test_why_a_condition_does_not_hold(finding: Finding, said: str) -> None:
    """What is there and what is wanted; of nested ones only what is wrong."""
    assert said == missed(finding)


def test_what_conditions_ask() -> None:
    """In one line, nested ones in brackets."""
    nested = Finding("any", "", None, True, ((TIER, ROWS), (Finding("not", "", None, True, ((NONE,),)),)))
    assert "any of (tier gold and rows 4..; not (header.x-a 1))" == asked(nested)
    assert "everything" == all_asked(())


def test_values() -> None:
    """As a document writes them."""
    assert ["true", "false", "3", "2.5", "'a'"] == [had(each) for each in (True, False, 3, 2.5, "a")]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0005, "500us"), (0.15, "150ms"), (2, "2s"), (90, "1.5m"), (86400, "24h"), (0.001, "1ms"), (0, "0s")]
)
def test_durations(seconds: float, said: str) -> None:
    """In the unit that people would take."""
    assert said == duration(seconds)


def test_shares() -> None:
    """Without more digits than there are."""
    assert ["5 %", "0.1 %", "33.33 %"] == [share(each) for each in (0.05, 0.001, 1 / 3)]
    assert ["+5 %", "-26.85 %"] == [share(each, "+") for each in (0.05, -0.26849)]


def test_requests() -> None:
    """Whatever is not as usual."""
    assert "digits" == request(Request("digits"))
    everything = Request(
        "digits",
        Caller("ann", "acme", "gold", ("a", "b")),
        3,
        {"x-a": "1"},
        {"p": True},
        "2",
        0,
        64,
        {"text": 5},
        "r7",
        {"hard": 0.62},
    )
    assert (
        "digits, tenant acme, tier gold, subject ann, scope a b, 3 rows, header x-a=1, parameter p=true, text of 5 characters,"
        " prompt hard 0.62, version 2, priority 0, bytes 64B, id r7"
    ) == request(everything)
    assert "digits, no rows" == request(Request("digits", rows=None))


def test_how_many_there_are() -> None:
    """One of a thing, or several; thousands are set apart."""
    assert ["0 rules", "1 rule", "1,200 rules"] == [counted(number, "rule") for number in (0, 1, 1200)]
