"""The bars of rollouts in a short form; FAULTS=long, or `python -m tests.routing.simulations`, takes the counts they are for."""

from __future__ import annotations

import numpy as np
import pytest

from routing.rollout.betting import Metric
from tests.faults.figures import LONG
from tests.routing.simulations import cost, harm, quiet, shares, whole
from tests.routing.simulations.whole import Candidate

RUNS = 1000 if LONG else 100
QUIET_RUNS, REQUESTS = (1000, 20_000) if LONG else (200, 2_000)
MOST = 0.017 if LONG else 0.025  # of so many runs; with exactly 1 % one in fifty of such tests would have more

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", quiet.WEATHERS)
def test_what_changes_nothing_is_not_taken_back(name: str) -> None:
    """However the weather is and however often it is looked at; peeking at a test fails, as do bets on all that a client asks."""
    found = quiet.false_rollbacks(quiet.WEATHERS[name], QUIET_RUNS, REQUESTS, seed=5)
    assert found["bets"] <= MOST
    assert found["peeking"] > MOST
    if quiet.WEATHERS[name].sticky:
        assert found["every request"] > 0.1


@pytest.mark.parametrize("ratio", [4.0, 2.0])
def test_more_errors_are_found_soon(ratio: float) -> None:
    """On average within twice the requests that any test needs."""
    assert 2.0 >= harm.errors(ratio, RUNS, seed=6).mean() / harm.errors_bound(ratio)


def test_the_bounds_are_those_that_were_stated() -> None:
    """395 and 2 546 requests for errors of 0.5 % times four and two, 51 for 30 % more latency, 397 in the tail."""
    assert [395, 2546] == [round(harm.errors_bound(ratio)) for ratio in (4.0, 2.0)]
    assert [51, 395, 396, 397] == [round(harm.latency_bound(slow)) for slow in harm.SLOWDOWNS.values()]


def test_more_latency_is_found_soon() -> None:
    """On average within twice the requests that any test needs, though only cells are looked at."""
    slow = harm.SLOWDOWNS["latency + 30 %"]
    assert 2.0 >= harm.latency(slow, 2 * RUNS, seed=7).mean() / harm.latency_bound(slow)


@pytest.mark.parametrize("name", [name for name in harm.SLOWDOWNS if name.startswith("tail")][: 3 if LONG else 1])
def test_a_slow_tail_is_found_soon(name: str) -> None:
    """On average within two and a half times the requests that any test needs, whatever makes the tail of that bound."""
    slow = harm.SLOWDOWNS[name]
    assert 2.5 >= harm.latency(slow, RUNS, seed=7).mean() / harm.latency_bound(slow)


def test_what_was_good_for_long_is_found_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 200 000 good requests, within three and a half times the bound; without laying out anew it takes twice that."""
    found = harm.errors(4.0, RUNS, seed=8, quiet=200_000).mean() / harm.errors_bound(4.0)
    assert 3.5 >= found
    monkeypatch.setattr("routing.rollout.betting.SPREAD", 1e15)
    assert 1.5 * found < harm.errors(4.0, RUNS, seed=8, quiet=200_000).mean() / harm.errors_bound(4.0)


@pytest.mark.parametrize(("metric", "border"), [(Metric("e", ratio=1.5), 0.0075), (Metric("e", points=0.005), 0.01)])
def test_what_is_tolerated_is_not_taken_back(metric: Metric, border: float) -> None:
    """A candidate that is exactly as bad as it may be stays; one four times as bad goes."""
    assert MOST >= harm.taken_back(metric, border, RUNS // 2, seed=11)
    assert 0.95 < harm.taken_back(metric, 4 * border, RUNS // 5, seed=11)


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_right_shares_are_no_mismatch(weight: float) -> None:
    """At most one run in a thousand is blocked (five of 2 000 here, by chance one time in sixty); the usual test blocks more."""
    found = np.isfinite(shares.noticed(weight, weight, 20 * RUNS, 2_000, seed=9))
    assert found.mean() <= (0.002 if LONG else 0.0025)
    assert shares.chi_squared(weight, 20 * RUNS, 2_000, seed=9) > 0.005


@pytest.mark.parametrize("name", shares.WRONG)
def test_wrong_shares_are_noticed_soon(name: str) -> None:
    """On average within 1.3 times the draws that any test needs; a tenth more in the short form, for its noise."""
    weight, share = shares.WRONG[name]
    bound = shares.bound(weight, share)
    assert (1.3 if LONG else 1.43) >= shares.noticed(weight, share, 2 * RUNS, int(8 * bound), seed=10).mean() / bound


@pytest.mark.parametrize("clients", [0, 300])
def test_the_parts_together_keep_the_promise(clients: int) -> None:
    """Looked at every 50 requests, with points learnt on the way: a candidate that changes nothing is promoted, or waits.

    With 300 sticky clients of very different size it waits more often: a step's candidates may hardly ask anything.
    """
    ends = [whole.run(Candidate(), clients, 4_000, seed).rollout for seed in range(RUNS // 2)]
    assert sum(end.state == "rolled-back" for end in ends) <= MOST * len(ends)
    assert sum(end.state == "promoted" for end in ends) >= (0.5 if clients else 0.85) * len(ends)


@pytest.mark.parametrize("candidate", [Candidate(errors=8.0), Candidate(latency=2.0)])
def test_the_parts_together_take_a_bad_one_back(candidate: Candidate) -> None:
    """Before it was asked much, with nobody's help; the rollout says what it was."""
    ends = [whole.run(candidate, 0, 8_000, seed) for seed in range(RUNS // 4)]
    assert ["rolled-back"] * len(ends) == [end.rollout.state for end in ends]
    assert 200 > np.mean([end.candidates for end in ends])
    metric = "error-rate" if candidate.errors > 1 else "latency"
    assert all(f"against the candidate, 100 suffice; {metric}: " in end.rollout.notes[-1].text for end in ends)


def test_a_request_hardly_notices() -> None:
    """At most 5 µs of its core's time; five times as much here, for cores that are shared."""
    assert 25.0 > min(cost.microseconds(sticky, rounds=3) for sticky in (False, True))
