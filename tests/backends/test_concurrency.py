"""The limit that is learnt: simulated backends of known capacity, by a clock that is told."""

from __future__ import annotations

import heapq
import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.concurrency import FORGOTTEN, FREE, LEVELS, Concurrency


class Fifo:
    """So many servers before one queue, each `seconds` for one question."""

    def __init__(self, servers: int, seconds: float) -> None:
        self.servers, self.seconds = servers, seconds
        self.queue: list[float] = []
        self.busy: list[float] = []

    def begin(self, now: float) -> list[float]:
        """When those that are begun now will be answered."""
        started = []
        while self.queue and len(self.busy) < self.servers:
            self.queue.pop(0)
            self.busy.append(now)
            started.append(now + self.seconds)
        return started

    def end(self) -> int:
        """One server is free; answers that come with it."""
        self.busy.pop()
        return 1


class Batches(Fifo):
    """One server that answers up to `most` questions together: `seconds`, and `each` for every one of them."""

    def __init__(self, seconds: float, each: float, most: int) -> None:
        super().__init__(1, seconds)
        self.each, self.most, self.size = each, most, 0

    def begin(self, now: float) -> list[float]:
        if self.busy or not self.queue:
            return []
        self.size = min(self.most, len(self.queue))
        del self.queue[: self.size]
        self.busy.append(now)
        return [now + self.seconds + self.each * self.size]

    def end(self) -> int:
        self.busy.pop()
        return self.size


def pressed(concurrency: Concurrency, server: Fifo, seconds: float, begin: float = 0.0) -> float:
    """Keeps as many in flight as the limit says, for so long; answers a second in the second half of it."""
    chance, answered = Random(1), 0
    sent: list[tuple[float, int]] = []
    order = itertools.count()
    events = [(begin, next(order), 0)]
    half, over = begin + seconds / 2, begin + seconds
    while events and events[0][0] < over:
        now, _, ends = heapq.heappop(events)
        if ends:
            for _ in range(server.end()):
                when, beside = sent.pop(0)
                concurrency.took(beside, now - when, now)
                answered += now >= half
        concurrency.pressed()
        while len(sent) < concurrency.limit:
            sent.append((now, len(sent) + 1))
            server.queue.append(now)
        for at in server.begin(now):
            heapq.heappush(events, (at + chance.uniform(0, 0.0003), next(order), 1))
    return answered / (seconds / 2)


@pytest.mark.parametrize(("servers", "seconds"), [(1, 0.005), (4, 0.02), (16, 0.08)])
def test_a_queue_behind_busy_servers_is_not_fed(servers: int, seconds: float) -> None:
    """Servers are kept busy, and hardly more is in flight than there are of them."""
    concurrency = Concurrency(256)
    rate = pressed(concurrency, Fifo(servers, seconds), 10.0)
    assert rate >= 0.95 * servers / seconds
    assert concurrency.limit <= 1.5 * servers + 2


@pytest.mark.parametrize(("seconds", "each", "most"), [(0.02, 0.0025, 8), (0.03, 0.001, 32), (0.01, 0.0001, 64)])
def test_batches_are_filled(seconds: float, each: float, most: int) -> None:
    """While one batch is answered the next gathers: nearly all that full batches give, with less than three of them in flight."""
    concurrency = Concurrency(1024)
    rate = pressed(concurrency, Batches(seconds, each, most), 20.0)
    assert rate >= 0.9 * most / (seconds + each * most)
    assert concurrency.limit <= 3 * most


def test_the_policys_bound_is_never_passed() -> None:
    """However good more would be."""
    concurrency = Concurrency(3)
    assert 3 == concurrency.limit
    pressed(concurrency, Fifo(100, 0.01), 5.0)
    assert concurrency.limit <= 3


def test_it_follows_a_backend_that_loses_and_wins_servers() -> None:
    """Four servers, then one, then eight."""
    concurrency, server = Concurrency(256), Fifo(4, 0.02)
    pressed(concurrency, server, 5.0)
    for count, begin in ((1, 10.0), (8, 30.0)):
        server.queue.clear()
        server.busy.clear()
        server.servers = count
        rate = pressed(concurrency, server, 10.0, begin)
        assert rate >= 0.93 * count / 0.02
        assert concurrency.limit <= 1.5 * count + 2


def test_what_is_free_of_charge_is_allowed() -> None:
    """Without an answer nothing bad is known; of a backend that answers all at once ever more may be in flight."""
    concurrency = Concurrency(1000)
    assert FREE == concurrency.limit
    pressed(concurrency, Fifo(1000, 0.05), 5.0)
    assert concurrency.limit >= 500


def test_one_slow_answer_closes_nothing() -> None:
    """It may have had bad luck."""
    concurrency = Concurrency(256)
    for _ in range(100):
        concurrency.took(1, 0.01, 1.0)
    concurrency.took(7, 5.0, 1.0)
    for _ in range(100):
        concurrency.took(1, 0.01, 1.0)
    assert FREE == concurrency.limit


def test_the_past_is_forgotten() -> None:
    """What was bad half a minute ago may be good now."""
    concurrency = Concurrency(256)
    pressed(concurrency, Fifo(1, 0.005), 5.0)
    assert concurrency.limit < 5
    for _ in range(64):
        concurrency.took(1, 0.005, 5.0 + FORGOTTEN)
    assert FREE == concurrency.limit


def test_the_quickest_answer_is_remembered_for_a_while() -> None:
    """Of one window and the one before."""
    concurrency = Concurrency(256)
    assert 0.0 == concurrency.quickest
    for seconds, now in ((0.02, 0.0), (0.01, 1.0), (0.03, 2.0)):
        concurrency.took(1, seconds, now)
    assert 0.01 == concurrency.quickest
    for turn in range(4):
        for _ in range(64):
            concurrency.took(1, 0.03, 3.0 + turn * (FORGOTTEN + 1))
    assert 0.03 == concurrency.quickest


def test_a_wait_that_was_given_up_counts_only_where_it_was_long() -> None:
    """A client without patience says nothing of the backend; one that waited ten times as long as usual does."""
    patient, hasty = Concurrency(256), Concurrency(256)
    for concurrency, seconds in ((patient, 1.0), (hasty, 0.001)):
        for beside in range(1, 9):
            for _ in range(16):
                concurrency.took(beside, 0.05, 1.0)
        for _ in range(64):
            concurrency.outlasted(8, seconds, 1.0)
            concurrency.took(7, 0.05, 1.0)
    assert (8, FREE) == (patient.limit, hasty.limit)
    assert 0.05 == hasty.quickest


@pytest.mark.parametrize("seconds", [0.0, 0.000005, 0.06])
def test_what_was_given_up_is_never_the_best(seconds: float) -> None:
    """Not even with so many in flight as nobody has had an answer with: such a question may not even have been begun."""
    concurrency = Concurrency(256)
    for turn in range(600):
        beside = (12, 15, 18, 22, 27, 33, 41)[turn % 7]
        concurrency.pressed()
        concurrency.took(beside, 0.05 * max(1.0, beside / 16), 1.0)
    before, lowest = concurrency.pace, FREE
    for turn in range(200):
        concurrency.outlasted((2, 9, 60)[turn % 3], seconds, 1.0)
        concurrency.pressed()
        concurrency.took(16, 0.05, 1.0)
        lowest = min(lowest, concurrency.limit)
    assert before == pytest.approx(concurrency.pace, rel=0.01)
    assert lowest >= 15


def test_a_backend_that_refuses_is_asked_less() -> None:
    """Its own queue is full: so many are too many, though all that it takes are answered quickly."""
    concurrency = Concurrency(256)
    concurrency.rejected(9, 0.0)  # nothing is known yet, so it is not known how bad that is
    for _ in range(200):
        for beside in range(1, 9):
            concurrency.took(beside, 0.05, 1.0)
        for beside in range(9, 33):
            concurrency.rejected(beside, 1.0)
    assert concurrency.limit <= 10


@given(st.lists(st.tuples(st.integers(1, 2000), st.floats(0, 1e6), st.floats(0, 1e5), st.sampled_from(["took", "outlasted"]))))
def test_the_limit_stays_within_its_bounds(told: list[tuple[int, float, float, str]]) -> None:
    """Whatever it is told, in whatever order: from 1 to the ceiling."""
    concurrency = Concurrency(100)
    for beside, seconds, now, what in told:
        concurrency.pressed()
        getattr(concurrency, what)(beside, seconds, now)
        concurrency.rejected(beside, now)
        assert 1 <= concurrency.limit <= 100


def test_levels_are_about_a_quarter_apart() -> None:
    """Every small number is one, and no step is larger than it must be."""
    assert LEVELS[:6] == [1, 2, 3, 4, 5, 6]
    assert all(later - earlier <= max(1, earlier / 4) for earlier, later in itertools.pairwise(LEVELS))
