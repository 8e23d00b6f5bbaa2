"""What every form of the report shows, as text."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.shadow.report import report
from gateway.shadow.tables import compared, fields, said, slices
from routing.shadow.excess import FAR
from tests.gateway.shadow.shadowed import NEXT, SHADOW, shown


def test_fields() -> None:
    """What is undecided comes before what is the same, and says how many more questions it needs."""
    head, rows = fields(shown(1200, 0.3, 0.3))
    assert [("label", "not enough"), ("probabilities", "same")] == [(row[0], row[1]) for row in rows]
    still = [row[head.index("still needs")] for row in rows]
    assert still[0].replace(",", "").isdigit()
    assert "" == still[1]


def test_without_second_answers() -> None:
    """Noise is not known, and no wait would tell."""
    found = shown(600, 0.5, pairs=False)
    _, rows = fields(replace(found, fields=tuple(replace(each, more=FAR) for each in found.fields)))
    assert {("–", "–", "more than can be waited for")} == {tuple(row[3:]) for row in rows}


def test_times_and_cost() -> None:
    """Times in their unit, cost as a number; nothing where nobody answered."""
    found = shown(100, 0.0)
    assert ("cost", "4,000", "6,000", "150 %") == compared(found)[1][-1]
    assert compared(found)[1][0][1].endswith(" ms")
    none = replace(found.compared[0], primary=0.0, ratio=None)
    assert ("–", "–") == (
        compared(replace(found, compared=(none,)))[1][0][1],
        compared(replace(found, compared=(none,)))[1][0][3],
    )


def test_slices() -> None:
    """The largest first, with shares of those that have a second answer."""
    _, rows = slices(shown(70, 1.0, pairs=False))
    assert ("tenant=acme", "60", "100 %", "–") == rows[0]


def test_of_a_whole_route() -> None:
    """Where the candidate takes no variant's place, the route is named."""
    whole = replace(SHADOW, of="", route="default")
    assert "next instead of route default, no versions seen yet" == said(report("digits", whole, (NEXT, None), None))
    part = replace(SHADOW, route="default")
    assert "next instead of live on route default, no versions seen yet" == said(report("digits", part, (NEXT, None), None))
