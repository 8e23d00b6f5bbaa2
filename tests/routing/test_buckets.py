"""Tests of routing.buckets: all or nothing, nothing lost, bounded whoever comes."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routing.buckets import Buckets
from routing.demand import COME_BACK, Demand

RATE, BURST, CEILING, BYTES = 4.0, 6, 3, 500


def demands(who: str, size: int = 100) -> tuple[Demand, ...]:
    """A limit of requests, of bytes and of what is in flight at once."""
    return (
        Demand(f"{who}:r", "requests", 1, RATE, BURST),
        Demand(f"{who}:c", "concurrency", 1, 0.0, CEILING),
        Demand(f"{who}:b", "bytes", size, float(BYTES), 2 * BYTES),
    )


class Principals(RuleBasedStateMachine):
    """Two principals come and go, some of them cancelled; a count by hand is held against the buckets."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets, self.now = Buckets(), 1000.0
        self.held: list[tuple[Demand, ...]] = []
        self.passed: dict[str, list[tuple[float, int]]] = defaultdict(list)

    @rule(who=st.sampled_from("ab"), size=st.integers(1, 2 * BYTES))
    def ask(self, who: str, size: int) -> None:
        wanted, before = demands(who, size), sum(each[0].key[0] == who for each in self.held)
        verdict = self.buckets.take(wanted, self.now)
        if verdict.limited is None:
            assert before < CEILING
            self.held.append(wanted)
            self.passed[who].append((self.now, size))
        else:
            assert verdict.retry_after > 0
            alone = self.buckets.take((wanted[verdict.limited],), self.now)  # the one it names is why
            assert 0 == alone.limited

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """Answered, failed or cancelled: it is all one to what was held."""
        self.buckets.give_back(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts(self) -> None:
        """As many are counted as are in flight, and nothing is kept of who has none."""
        in_flight: dict[str, int] = defaultdict(int)
        for wanted in self.held:
            in_flight[wanted[1].key] += 1
        assert dict(in_flight) == self.buckets.counts

    @invariant()
    def windows(self) -> None:
        """In no window more than the rate, and the burst once."""
        for passed in self.passed.values():
            for first, (begin, _) in enumerate(passed):
                seconds = passed[-1][0] - begin + 1e-5
                assert len(passed) - first <= RATE * seconds + BURST
                assert sum(size for _, size in passed[first:]) <= BYTES * seconds + 2 * BYTES


Principals.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_principals = Principals.TestCase


def test_all_or_nothing() -> None:
    """What one demand refuses costs the others nothing."""
    buckets = Buckets()
    for _ in range(CEILING):
        buckets.take(demands("a"), 0.0)
    for _ in range(100):
        verdict = buckets.take(demands("a"), 0.0)
        assert (1, COME_BACK) == (verdict.limited, verdict.retry_after)
    buckets.give_back(demands("a"))
    assert (None, 0) == ((verdict := buckets.take(demands("a"), 0.0)).limited, verdict.remaining)
    assert BURST - CEILING - 2 == buckets.take(demands("a")[:1], 0.0).remaining


@pytest.mark.parametrize("rate", [50.0, 100.0, 3000.0])
def test_the_steady_rate(rate: float) -> None:
    """Whoever asks for three times its rate gets it, within 1 %."""
    buckets, wanted, passed = Buckets(), (Demand("a", "requests", 1, rate, 10),), 0
    for step in range(30_000):
        passed += buckets.take(wanted, step / (3 * rate)).limited is None
    assert abs(passed - 10_000 - 10) <= 100


def test_the_one_nearest_to_its_end_is_told() -> None:
    """Of requests, bytes and what is in flight."""
    buckets = Buckets()
    assert [2, 1, 1] == [buckets.take(demands("a", size), 0.0).told for size in (400, 1, 1)]


def test_hostile_numbers_of_principals() -> None:
    """30 000 subjects that come once each leave no more than the table holds, and those that ask on keep their count."""
    buckets, busy = Buckets(most=1000), demands("busy")[:1]
    passed = 0
    for number in range(30_000):
        now = number / 1000
        buckets.take((Demand(f"s{number}", "requests", 1, 0.001, 5),), now)
        passed += number % 10 == 0 and buckets.take(busy, now).limited is None
    assert 1000 == len(buckets)
    assert abs(passed - (RATE * 30 + BURST)) <= 0.01 * RATE * 30


def test_whoever_is_idle_makes_room_first() -> None:
    """A bucket that has leaked empty is forgotten before one that has not, however long ago that was used."""
    buckets = Buckets(most=8)
    slow, quick = Demand("slow", "requests", 5, 0.01, 5), Demand("quick", "requests", 1, 100.0, 5)
    buckets.take((slow,), 0.0)
    for number in range(50):
        buckets.take((Demand(f"q{number}", "requests", 1, 100.0, 5),), 1.0 + number)
    buckets.take((quick,), 60.0)
    assert 0 == buckets.take((slow,), 61.0).limited
    assert len(buckets) <= 8


def test_who_is_refused_and_asks_on_is_not_forgotten() -> None:
    """However many come in between: else a crowd of made-up names would give him a full bucket again."""
    buckets, busy = Buckets(most=10), demands("busy")[:1]
    for _ in range(BURST):
        buckets.take(busy, 0.0)
    for number in range(1000):
        assert 0 == buckets.take(busy, 0.0).limited
        buckets.take((Demand(f"s{number}", "requests", 1, 0.001, 5),), 0.0)


def test_nothing_is_given_back_twice() -> None:
    """A count never falls below none."""
    buckets = Buckets()
    buckets.give_back(demands("a"))
    buckets.take(demands("a"), 0.0)
    buckets.give_back(demands("a"))
    buckets.give_back(demands("a"))
    assert {} == buckets.counts


def test_note() -> None:
    """What somebody else let through counts, up to what the bucket holds."""
    buckets, wanted = Buckets(), demands("a", 1)
    for _ in range(50):
        buckets.note(wanted[:1], 0.0)
    assert 0.25 == pytest.approx(buckets.take(wanted[:1], 0.0).retry_after)
    buckets.note(wanted[1:2], 0.0)
    assert {"a:c": 1} == buckets.counts


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 9))))
def test_one_alone_is_counted_as_among_others(asked: list[tuple[float, int]]) -> None:
    """Of which nothing else is near its end."""
    alone, among, now = Buckets(), Buckets(), 0.0
    roomy = Demand("roomy", "requests", 1, 1e9, 10**9)
    for pause, cost in asked:
        now += pause
        one = Demand("k", "bytes", cost, RATE, BURST)
        mine, other = alone.take((one,), now), among.take((one, roomy), now)
        assert 0 == other.told
        assert (other.limited, other.remaining) == (mine.limited, mine.remaining)
        assert (other.retry_after, other.reset) == pytest.approx((mine.retry_after, mine.reset))
