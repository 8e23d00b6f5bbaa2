"""The picture of a backtest: well-formed, all of it inside, every figure in it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.review.traffic.backtest import Backtest, Result
from gateway.review.traffic.decided import Recorded
from gateway.review.traffic.plot import MOST, WIDTH, _ticks, svg
from gateway.telemetry.sample import Sample
from tests.gateway.review.recorded import POLICY, gold, sample, treatment

NAME = "{http://www.w3.org/2000/svg}"
NO_GOLD = POLICY.replace("      - {name: gold, match: {tier: gold}, use: accurate}\n", "")
BALANCED_GOLD = POLICY.replace("use: accurate}\n", "use: balanced}\n")


def result(new: str, *samples: Sample) -> Result:
    """Of a backtest."""
    found = Backtest(Recorded(), treatment(new))
    for each in samples:
        found.take(each)
    return found.result()


def drawn(found: Result) -> ElementTree.Element:
    """The picture, read again."""
    return ElementTree.fromstring(svg(found, "new <&> old", ["small print"]))


def texts(picture: ElementTree.Element) -> list[str]:
    """All that it says."""
    return [each.text or "" for each in picture.iter(f"{NAME}text")]


@pytest.mark.parametrize("new", [POLICY, NO_GOLD, BALANCED_GOLD, POLICY.replace("digits:", "letters:")])
def test_everything_is_inside(new: str) -> None:
    """Every bar, whatever is unknown, refused or only bounded."""
    refused = sample(route="", stages=(), reason="version", version="9", asks=())
    picture = drawn(result(new, sample(), gold(), gold(5, 90.0), sample(tier="<&>"), refused))
    for bar in picture.iter(f"{NAME}rect"):
        assert float(bar.get("x", 0)) >= 0
        assert float(bar.get("width", 0)) >= 0
        assert float(bar.get("x", 0)) + float(bar.get("width", 0)) <= WIDTH
    assert {"new <&> old", "small print", "Who answers", "digits, <&>"} <= set(texts(picture))


def test_figures_are_those_of_the_result() -> None:
    """Costs with their bounds, times with what is unknown, shares of who answers."""
    told = texts(drawn(result(NO_GOLD, sample(), gold())))
    assert {"41", "~2 (2–48)"} <= set(told)
    assert [text for text in told if text.startswith(("mean 11, 95th 19.", "mean 11, 95th 20."))]
    assert "100 %" in told
    assert "1–47" in texts(drawn(result(NO_GOLD, gold())))
    assert "unknown" in texts(drawn(result(BALANCED_GOLD, gold())))


def test_many_tiers_are_cut() -> None:
    """A picture that nobody could read is of no use."""
    picture = drawn(result(POLICY, *[sample(tier=f"t{number:02}") for number in range(3 * MOST)]))
    assert int(picture.get("height", 0)) < 3000
    assert "digits, t00" in texts(picture)
    assert f"digits, t{MOST:02}" not in texts(picture)


def test_nothing_recorded() -> None:
    """A picture all the same."""
    assert "everything" in texts(drawn(result(POLICY)))


@given(st.floats(0, 1e15))
def test_scales_have_round_numbers(most: float) -> None:
    """From 0 to at least the largest, not too many."""
    ticks = _ticks(most)
    assert 0 == ticks[0]
    assert ticks[-1] >= most
    assert 2 <= len(ticks) <= 8
