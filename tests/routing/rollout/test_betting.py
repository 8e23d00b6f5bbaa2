"""Bets on labels: fair where nothing is wrong, and where it is tolerated at most that."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from routing.rollout import betting
from routing.rollout.betting import CASH, NOTHING, POINTS, RATIOS, Evidence, Metric, bets, level, look, share
from tests.routing.simulations.fortunes import Fortunes

WEIGHTS = st.floats(0.001, 0.999)
SHARE = Metric("error-rate")
LATENCY = Metric("latency", "latency")


@given(WEIGHTS, st.sampled_from([SHARE, LATENCY]))
def test_a_bet_is_fair(weight: float, metric: Metric) -> None:
    """Whatever happened, and whatever the weight, the expected factor over the coin is 1: the fortune is a martingale."""
    for cells in bets(metric, weight):
        for stable, candidate in cells:
            assert weight * math.exp(candidate) + (1 - weight) * math.exp(stable) == pytest.approx(1)


@given(WEIGHTS, st.floats(0, 1), st.floats(0, 1), st.floats(1, 5), st.floats(0, 0.2))
def test_what_is_tolerated_gains_nothing(weight: float, rate: float, part: float, ratio: float, points: float) -> None:
    """The expected factor of a request is at most 1 for every pair of rates within the tolerance, and 1 at its border."""
    border = ratio * (rate + points)
    assume(border <= 1)
    metric = Metric("error-rate", ratio=ratio, points=points)
    for none, event in bets(metric, weight):
        mine = [worse * math.exp(event.candidate) + (1 - worse) * math.exp(none.candidate) for worse in (part * border, border)]
        others = rate * math.exp(event.stable) + (1 - rate) * math.exp(none.stable)
        assert weight * mine[0] + (1 - weight) * others <= 1 + 1e-9
        assert weight * mine[1] + (1 - weight) * others == pytest.approx(1)


@given(WEIGHTS, st.lists(st.floats(0.01, 1), min_size=len(POINTS) + 1, max_size=len(POINTS) + 1), st.data())
def test_a_faster_candidate_gains_nothing(weight: float, masses: list[float], data: st.DataObject) -> None:
    """However badly the points are known: where the candidate's latency is in lower cells the expected factor is at most 1."""
    stable = np.array(masses) / sum(masses)
    faster = stable.copy()
    source = data.draw(st.integers(1, len(POINTS)))
    target = data.draw(st.integers(0, source - 1))
    moved = data.draw(st.floats(0, 1)) * faster[source]
    faster[source] -= moved
    faster[target] += moved
    for cells in bets(LATENCY, weight):
        factors = np.exp(np.array(cells[1:]))
        assert weight * faster @ factors[:, 1] + (1 - weight) * stable @ factors[:, 0] <= 1 + 1e-9


@given(st.floats(0.001, 0.2), st.floats(0, 1))
def test_a_ceiling_is_kept_by_who_is_below(most: float, part: float) -> None:
    """The expected factor of a candidate's request is at most 1 for any rate that is tolerated; the stable side's is 1."""
    for _, fine, bad in bets(Metric("disagreement", "ceiling", most=most), 0.05):
        assert part * most * math.exp(bad.candidate) + (1 - part * most) * math.exp(fine.candidate) <= 1 + 1e-9
        assert (0, 0) == (fine.stable, bad.stable)


def test_factors_are_those_of_the_coin() -> None:
    """Errors four times as frequent, at 5 %: 0.174 of them are the candidate's; a bet on it pays that over the weight."""
    four = bets(SHARE, 0.05)[RATIOS.index(4.0)]
    q = share(0.05, 4.0)
    assert 0.2 / 1.15 == pytest.approx(q)
    assert [q / 0.05, (1 - q) / 0.95] == pytest.approx([math.exp(four[1].candidate), math.exp(four[1].stable)])
    assert (0, 0) == four[NOTHING]


def test_a_slower_cell_speaks_louder() -> None:
    """In every way of being slower, each cell is met more often than the one below; it is the same for all of the weights."""
    for cells in bets(LATENCY, 0.05):
        assert all(slow.candidate > quick.candidate for quick, slow in pairwise(cells[1:]))


@given(st.lists(st.tuples(WEIGHTS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 50)), max_size=8))
def test_a_look_keeps_the_fortune_fair(looks: list[tuple[float, int, int, int]]) -> None:
    """Laying out anew neither makes nor loses any: a look's fortune is the sum of the bets before it times their factors."""
    evidence = Evidence()
    for weight, stable, candidate, more in looks:
        before = evidence.fortunes or betting._start(SHARE)
        expected = math.exp(before[0]) + sum(
            math.exp(have + stable * cells[1].stable + candidate * cells[1].candidate)
            for have, cells in zip(before[1:], bets(SHARE, weight), strict=True)
        )
        evidence = look(SHARE, evidence, {(1, weight): (stable, candidate)}, (stable + more, candidate))
        assert expected == pytest.approx(math.exp(evidence.fortune))
    assert evidence.highest >= evidence.fortune - 1e-9
    assert sum(candidate for _, _, candidate, _ in looks) == evidence.happened[1]


def test_one_run_is_as_in_the_simulations() -> None:
    """The arrays of the simulations count as this does, over 300 requests of changing weight."""
    rng = np.random.default_rng(1)
    weights = (0.01, 0.05, 0.5)
    arrays, evidence = Fortunes(LATENCY, weights, 1), Evidence()
    for step in range(300):
        cell, candidate = int(rng.integers(0, LATENCY.cells)), bool(rng.random() < weights[step // 100])
        found = arrays.look(np.array([cell]), np.array([candidate]), step // 100)
        labels = int(not candidate), int(candidate)
        evidence = look(LATENCY, evidence, {(cell, weights[step // 100]): labels}, labels)
        assert float(found[0]) == pytest.approx(math.exp(evidence.fortune))


def test_the_fortune_is_never_lost() -> None:
    """A million good requests leave some to bet with, and a failing candidate is still found within a few dozen failures."""
    evidence = Evidence()
    for _ in range(100):
        evidence = look(SHARE, evidence, {(1, 0.05): (48, 2)}, (9_500, 500))
    assert -8 < evidence.fortune < math.log(CASH) + 1
    evidence = look(SHARE, evidence, {(1, 0.05): (30, 30)}, (9_500, 500))
    assert evidence.fortune > math.log(100)


def test_bets_of_another_version_are_laid_out_anew() -> None:
    """Evidence that was stored by a version with other bets keeps its whole fortune."""
    found = look(SHARE, Evidence((math.log(2), math.log(3)), 2.0), {}, (0, 0))
    assert math.log(5) == pytest.approx(found.fortune)
    assert 2.0 == found.highest


def test_level() -> None:
    """The largest of them, for which all had a chance."""
    assert math.log(50) == pytest.approx(level([math.log(100), -3.0]))
