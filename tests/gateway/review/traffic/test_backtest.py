"""Two treatments of the same traffic, added up."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from gateway.review.traffic.backtest import MOST_GROUPS, Backtest, Cost, Move, Time
from gateway.review.traffic.decided import Recorded
from gateway.review.traffic.log import Tally, read_samples
from gateway.telemetry.sample import Ask, Sample
from tests.gateway.review.recorded import POLICY, gold, sample, treatment

NO_GOLD = POLICY.replace("      - {name: gold, match: {tier: gold}, use: accurate}\n", "")
FAST_GOLD = POLICY.replace("use: accurate}\n", "use: fast}\n")
BALANCED_GOLD = POLICY.replace("use: accurate}\n", "use: balanced}\n")


def backtest(new: str, *samples: Sample, old: str = "") -> Backtest:
    """All samples taken."""
    found = Backtest(treatment(old) if old else Recorded(), treatment(new))
    for each in samples:
        found.take(each)
    return found


def test_nothing_changes_under_the_same_policy() -> None:
    """Neither route nor cost nor time, whatever the other side is."""
    for old in ("", POLICY):
        result = backtest(POLICY, sample(), gold(), gold(2, 30.0), old=old).result()
        row = result.rows[0]
        assert ((), 0.0, 0.0) == (result.moves, row.changed, result.bounded)
        assert row.old == row.new
        assert Cost(121.0, 121.0, 121.0) == row.new.cost
        assert pytest.approx(52 / 3) == row.new.time.mean


def test_a_move_to_another_variant() -> None:
    """Cost at its price, time as others took that asked it for as many rows."""
    result = backtest(FAST_GOLD, sample(), sample(backend_ms=4.0, asks=(Ask("fast", 1, 4.0, (920_000,)),)), gold()).result()
    everything, digits, free, golden = result.rows
    assert (("", ""), ("digits", ""), ("digits", "free"), ("digits", "gold")) == tuple(
        (row.model, row.tier) for row in (everything, digits, free, golden)
    )
    assert (1.0, 0.0, 1) == (golden.changed, free.changed, golden.samples)
    assert (40.0, 1.0) == (golden.old.cost.expected, golden.new.cost.expected)
    assert (20.0, 3.0) == (golden.old.time.mean, golden.new.time.mean)
    assert ({"accurate": 1.0}, {"fast": 1.0}) == (golden.old.answered, golden.new.answered)
    assert (Move("digits", "gold", "gold: accurate", "gold: fast", 1.0),) == result.moves


def test_samples_stand_for_as_many_as_were_not_recorded() -> None:
    """A sample of one in a hundred weighs a hundred; one of all weighs one."""
    result = backtest(FAST_GOLD, sample(share=0.01), gold(share=0.5)).result()
    row = result.rows[0]
    assert (2, 102.0, 2.0) == (row.samples, row.requests, row.changed)
    assert (180.0, 102.0) == (row.old.cost.expected, row.new.cost.expected)


def test_a_variant_that_was_never_asked_is_unknown() -> None:
    """Its time, not its cost; the rest is told of the others, the percentile within what it may be."""
    result = backtest(BALANCED_GOLD, *[sample()] * 9, gold()).result()
    row = result.rows[0]
    assert (15.0, 2.0, 0.1) == (row.new.cost.expected, row.new.time.mean, row.new.time.unknown)
    assert pytest.approx(2.0, rel=0.02) == row.new.time.p95_low
    assert None is row.new.time.p95_high
    golden = result.rows[3]
    assert Time(None, None, None, 1.0) == golden.new.time


def test_into_a_cascade_by_the_example_of_others() -> None:
    """Whoever was never asked how sure they are is taken to be as sure as those who were; the bounds are told with it."""
    unsure = sample(asks=(Ask("fast", 1, 2.0, (500_000,)), Ask("balanced", 1, 6.0, (900_000,))), cost=7.0, backend_ms=8.0)
    result = backtest(NO_GOLD, sample(), unsure, gold(2)).result()
    row = result.rows[0]
    assert Cost(8.0 + 8.0, 8.0 + 2.0, 8.0 + 94.0) == row.new.cost
    assert pytest.approx(1 / 3) == result.bounded
    assert 0.0 == row.new.time.unknown
    assert (2.0 + 8.0 + 5.0) / 3 == pytest.approx(row.new.time.mean)


def test_into_a_cascade_without_an_example() -> None:
    """Between bounds, and nobody knows how long it takes."""
    row = backtest(NO_GOLD, gold()).result().rows[0]
    assert (Cost(None, 1.0, 47.0), Time(None, None, None, 1.0)) == (row.new.cost, row.new.time)


def test_refusals_are_counted_on_both_sides() -> None:
    """A request that is refused costs nothing and takes no time."""
    was = sample(route="", stages=(), reason="version", cost=0.0, asks=(), version="3", tier="gold")
    result = backtest(POLICY, was, gold(model="other")).result()
    row = result.rows[0]
    assert (1.0, 1.0, 2.0) == (row.old.refused, row.new.refused, row.changed)
    assert {"refused (version)", "refused (not-found)"} == {side for move in result.moves for side in (move.old, move.new)} - {
        "gold: accurate"
    }


def test_failures_have_no_times() -> None:
    """A request that failed on the same route fails again: no cost, no time."""
    failed = gold(code="503", asks=(), ms=0.0)
    row = backtest(POLICY, failed, gold()).result().rows[0]
    assert (20.0, 20.0) == (row.old.time.mean, row.new.time.mean)


def test_answers_that_would_come_too_late() -> None:
    """Those on a kept plan that took longer than the route now allows."""
    row = backtest(POLICY.replace("timeout: 2s", "timeout: 10ms"), sample(), gold()).result().rows[0]
    assert 1.0 == row.new.late


def test_whoever_stood_in_does_not_speak_for_the_stage() -> None:
    """The time of a fallback is not the time of the model that failed."""
    stood = gold(asks=(Ask("fast", 1, 3.0),), cost=1.0)
    row = backtest(POLICY, stood, sample(tier="gold", asks=(), stages=())).result().rows[0]
    assert 0.5 == row.new.time.unknown


def test_tiers_without_end_are_one() -> None:
    """Tiers come from tokens."""
    found = backtest(POLICY, *[sample(tier=f"t{number}") for number in range(MOST_GROUPS + 50)])
    assert MOST_GROUPS + 1 == len(found._groups)
    assert MOST_GROUPS + 50 == found.result().rows[0].samples


def test_a_damaged_log_is_read_to_its_end(tmp_path: Path) -> None:
    """Whatever single bit of it is another: each line is taken or counted as damaged, and nothing is raised."""
    unsure = sample(
        rows=2, asks=(Ask("fast", 2, 2.0, (500_000, 1)), Ask("balanced", 2, 6.0, (900_000, 2))), headers={"x-a": None}
    )
    line, chance = msgspec.json.encode(unsure), random.Random(1)
    lines = []
    for _ in range(3000):
        spoilt = bytearray(line)
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        lines.append(bytes(spoilt).replace(b"\n", b" "))
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b"\n".join([line, *lines, line]))
    tally, found = Tally(), Backtest(treatment(), treatment(NO_GOLD))
    for each in read_samples([path], tally):
        found.take(each)
    assert 3002 == tally.samples + tally.damaged
    assert tally.samples == found.result().rows[0].samples > 500


def test_nothing_recorded() -> None:
    """One empty row."""
    (row,) = backtest(POLICY).result().rows
    assert (0, 0.0, Cost(0.0, 0.0, 0.0), Time(None, None, None, 0.0)) == (row.samples, row.requests, row.new.cost, row.new.time)
