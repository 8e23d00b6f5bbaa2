"""What an A/B test says of one metric."""

from __future__ import annotations

import pytest

from routing.rollout.comparison import Comparison, Sides, bounds, compared, mismatched, scaled
from routing.rollout.experiment import Arm
from routing.rollout.feedback import Feedback

BOUGHT, STARS = Feedback("bought"), Feedback("stars", "told", 1.0, 5.0)
HALVES = Comparison(0.5, 0.05, 10_000, (5_000, 5_000))


def events(stable: int, candidate: int) -> Sides:
    return Sides(*(Arm(number, number, number) for number in (stable, candidate)))


@pytest.mark.parametrize(("stable", "candidate", "found"), [(300, 500, "more"), (500, 300, "less"), (300, 310, "open")])
def test_events_are_of_all_units(stable: int, candidate: int, found: str) -> None:
    """Those of whom nothing was told had none: the rates are of all that were drawn, the interval is about their difference."""
    said = compared(BOUGHT, events(stable, candidate), HALVES)
    assert (found, (5_000, 5_000), (stable / 5_000, candidate / 5_000)) == (said.found, said.of, said.means)
    assert said.difference == pytest.approx((candidate - stable) / 5_000)
    assert said.low < (candidate - stable) / 5_000 < said.high
    assert f"{stable / 5000:.3%} of 5,000 units" in said.text


def test_numbers_of_those_told() -> None:
    """In the metric's own numbers: 200 of the stable side gave 2 stars and 3, of the candidate 4 and 5."""
    sides = Sides(Arm(400, 200 * 0.25 + 200 * 0.5, 200 * 0.0625 + 200 * 0.25), Arm(400, 200 * 0.75 + 200, 200 * 0.5625 + 200))
    said = compared(STARS, sides, HALVES)
    assert ((2.5, 4.5), (400, 400), "more") == (said.means, said.of, said.found)
    assert said.difference == pytest.approx(2.0)
    assert 1.5 < said.low < 2.0 < said.high < 2.5


def test_numbers_of_all_count_nothing_as_nothing() -> None:
    """Of money whose bounds do not begin at 0, 0 is what nobody told."""
    money = Feedback("money", "all", 10.0, 50.0)
    assert (0.0, 50.0) == bounds(money)
    told = Arm(100, 100 * scaled(money, 50.0), 100 * scaled(money, 50.0) ** 2)
    assert (1.0, 1.0) == compared(money, Sides(told, told), HALVES).means


@pytest.mark.parametrize("drawn", [(0, 0), (5, 0), (3, 3)])
def test_nothing_is_insufficient(drawn: tuple[int, int]) -> None:
    """Never good and never bad: no traffic, one side only, hardly anything."""
    said = compared(BOUGHT, Sides(), Comparison(0.5, 0.05, 10_000, drawn))
    assert ("insufficient", -1.0, 1.0) == (said.found, said.low, said.high)


def test_wrong_shares_block_every_difference() -> None:
    """However large it is."""
    said = compared(BOUGHT, events(300, 900), Comparison(0.5, 0.05, 10_000, (5_000, 4_000)))
    assert "mismatch" == said.found
    assert "the sides got 5,000 and 4,000 units" in said.text
    assert mismatched({0.5: (5_000, 4_000)})
    assert not mismatched({0.5: (5_000, 4_900)})
