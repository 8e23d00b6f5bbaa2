"""The bars of certified cascades in a short form; `python -m tests.routing.simulations.cascades` takes the full counts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.faults.figures import LONG
from tests.routing.simulations.cascades import anytime, certified, escalated, hard_coded, many, naive
from tests.routing.simulations.services import Group, groups

PAIRS = [pair for pair in groups(2) if pair.worth_it]
RUNS = 300 if LONG else 4
MOST = 0.05 if LONG else 0.5  # of the draws of one pair: three of four would be an accident of one in two thousand


@pytest.mark.parametrize(("rows", "cost"), [(1000, 0.8), (5000, 0.71)])
def test_the_promise_holds_and_saves(rows: int, cost: float) -> None:
    """Broken in at most one of twenty draws, in at most one of fifty over all pairs; the naive choice breaks it in a third."""
    of = PAIRS if LONG or rows == 1000 else PAIRS[:8:2]
    found = [many(certified, rows, RUNS, pair) for pair in of]
    beside = [many(naive, rows, RUNS, pair) for pair in of]
    assert max(each.broken for each in found) <= MOST
    assert np.mean([each.broken for each in found]) <= (0.02 if LONG else 0.07)
    assert np.mean([each.cost for each in found]) <= cost
    assert np.mean([each.broken for each in beside]) >= 0.3


def test_three_stages_cost_less_than_two() -> None:
    """At most half of what the dearest costs, the promise kept."""
    of = [group for group in groups(3) if group.worth_it][: None if LONG else 2]
    found = [many(certified, 5000 if LONG else 2000, RUNS if LONG else 3, group) for group in of]
    assert max(each.broken for each in found) <= MOST
    assert np.mean([each.cost for each in found]) <= 0.52


def test_bets_may_be_read_after_every_label() -> None:
    """The cheapest that is ever certified, at whatever moment, keeps the promise as well."""
    found = [many(anytime, 3000, RUNS, pair) for pair in (PAIRS if LONG else PAIRS[4:6])]
    assert max(each.broken for each in found) <= MOST
    assert np.mean([each.cost for each in found]) <= 0.6


def test_a_map_for_each_label_sends_less_up() -> None:
    """At most .47 of the rows with a free first model; a third less than raw confidence, with one at a mid price, too."""
    free = [pair for pair in PAIRS if pair.services[0] == 0]
    paid = [pair for pair in PAIRS if pair.services[0] > 0]
    shares = {how: [np.mean([escalated(pair, how) for pair in of]) for of in (free, paid)] for how in ("per label", "raw")}
    assert shares["per label"][0] <= 0.47
    assert all(each <= 0.72 * raw for each, raw in zip(shares["per label"], shares["raw"], strict=True))


def test_a_hard_coded_cut_keeps_nothing() -> None:
    """0.7 falls below 99 % on four of ten pairs, down to 86 %."""
    kept = [hard_coded(pair) for pair in PAIRS]
    assert 4 == sum(quality < 0.99 for quality in kept)
    assert 0.86 > min(kept)


def test_the_pairs_are_the_ones_that_are_told() -> None:
    """Eighteen pairs and twelve triples; in ten and five the dearest is right more often than the first."""
    assert [18, 12] == [len(groups(stages)) for stages in (2, 3)]
    assert [10, 5] == [sum(group.worth_it for group in groups(stages)) for stages in (2, 3)]
    assert "yelp s1→s2" == str(Group("yelp", (1, 2)))
