"""Lanes: who has a place, who waits for one, who is told no; and that no place is ever lost."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from backends.admission import BRIEF, CALM, HASTE, LONGEST, MIDDLE, NOTICED, SPARE, STANDING, UNKNOWN, WAITS, Lane, Waiter, Why


class Told:
    """What a waiter was told, in order."""

    def __init__(self) -> None:
        self.words: list[Why | None] = []

    def __call__(self, why: Why | None) -> None:
        self.words.append(why)


def lane(pace: float = 0.01, limit: int = 2, quickest: float = 0.0) -> Lane:
    """All of its places taken; `pace` as if it were known."""
    made = Lane(256)
    made.concurrency.pace, made.concurrency.quickest = pace, quickest
    made.limit = made.in_flight = limit
    return made


def fill(made: Lane, now: float, deadline: float, priority: int = MIDDLE, most: int = 1000) -> int:
    """Lets questions wait until one is refused; how many wait."""
    count = 0
    while count < most and made.judge(priority, deadline, now) is None:
        made.wait(priority, deadline, now, Told())
        count += 1
    return count


def standing(made: Lane) -> float:
    """Refuses for as long as it takes until the queue is cut; the time then."""
    now, step = 100.0, CALM / 2
    while now < 100.0 + STANDING + 2 * step:
        fill(made, now, now + 0.8)
        now += step
    made.queue.clear()
    return now


def test_a_burst_may_wait_for_a_share_of_its_time() -> None:
    """A hundredth of a second for each that is ahead: of 0.48 s an eighth is six of them."""
    assert 6 == fill(lane(), 0.0, 0.48 + 1e-9)
    assert 0 == fill(lane(), 0.0, 0.05)
    assert UNKNOWN == fill(lane(pace=0.0), 0.0, 0.05)  # nothing is known of the pace


def test_the_first_of_a_crowd_are_a_burst() -> None:
    """A hundred at once wait before a backend that needs a second for them, though hardly anybody was there before."""
    assert 100 <= fill(lane(), 0.0, 5.0)
    assert 12 == fill(lane(), 0.0, 1.0), "an eighth of their time"


def test_who_has_long_may_wait_for_nearly_half_of_it() -> None:
    """Twenty at once, with ten seconds each, before a backend that takes a tenth for each: all come in time."""
    assert 20 <= fill(lane(0.1), 0.0, 10.0)
    assert round((10.0 / 2 - HASTE) / 0.1) == fill(lane(0.1), 0.0, 10.0)


def crowd(made: Lane, begin: float = 0.0) -> float:
    """Somebody finds no place all the time until a crowd is no burst any more; the time then."""
    now, step = begin, CALM / 2
    while now <= begin + STANDING + step:
        assert made.judge(MIDDLE, now + 30.0, now) is None
        now += step
    return now


def test_a_load_that_only_grows_is_told_no() -> None:
    """Whatever time it has: a few more than have been in the lane lately may wait, and never more for minutes than LONGEST."""
    made = lane(pace=0.002)
    begin = crowd(made)
    assert 2 * SPARE == made.in_flight + fill(made, begin, begin + 0.5)
    for turn in range(1, 90):
        now = begin + turn * 0.01
        assert 0 == fill(made, now, now + 0.5)
    assert LONGEST / 2.0 == pytest.approx(fill(lane(pace=2.0), 0.0, 3600.0), abs=1)


def test_a_brief_wait_is_nobody_s_refusal() -> None:
    """A quick backend whose limit was learnt too low, by a stall for example, refuses no ordinary crowd."""
    made = lane(pace=0.0005)
    now = crowd(made)
    assert round(BRIEF / 0.0005) == fill(made, now, now + 0.3)


def test_who_has_seconds_minds_no_tenth_of_one() -> None:
    """Sixty clients who come one by one, however quickly, are no overload for a server of 4 ms."""
    for time, wait in ((2.0, 0.1), (10.0, NOTICED), (60.0, NOTICED)):
        made = lane(pace=0.004)
        now = crowd(made)
        assert round(wait / 0.004) == fill(made, now, now + time)


def test_a_crowd_that_asks_when_it_is_answered_is_taken_in() -> None:
    """The limit falls from many to few, and all of them are still there: each is answered in its turn, and may come again."""
    made = lane(limit=30)
    made.concurrency.limit = 2
    made.answered(30, 0.3, 10.0)
    made.in_flight = 29
    for turn in range(300):
        now = 10.0 + turn * 0.01
        assert made.judge(MIDDLE, now + 30.0, now) is None
        made.wait(MIDDLE, now + 30.0, now, Told())
        if made.in_flight > made.limit:
            made.in_flight -= 1
        else:
            made.queue.pop(0)


def test_a_queue_may_grow_by_and_by() -> None:
    """Twenty more each second, or a quarter, as long as nobody is refused: so clients may come one by one."""
    made, now = lane(), 0.0
    for size in (2 * SPARE, 4 * SPARE, 6 * SPARE):
        now = crowd(made, now)
        most = size - made.in_flight
        assert most == fill(made, now, now + 30.0, most=most)
        made.queue.clear()


def test_waiting_ends_in_time_for_an_answer() -> None:
    """After twice what was expected, but never so late that the quickest answer could not come."""
    made = lane()
    assert 2 * WAITS * 0.6 == pytest.approx(made.wait(MIDDLE, 0.6, 0.0, Told())[0].expires)
    made.concurrency.quickest = 0.5
    assert 0.1 == pytest.approx(made.wait(MIDDLE, 0.6, 0.0, Told())[0].expires)


def test_the_better_priority_goes_first_then_the_earlier_deadline() -> None:
    """Whoever came first, among equals."""
    made = lane()
    asked = [(5, 2.0), (9, 1.0), (5, 1.0), (0, 3.0), (5, 1.0)]
    waiters = [made.wait(priority, deadline, 0.0, Told())[0] for priority, deadline in asked]
    assert [waiters[place] for place in (3, 2, 4, 0, 1)] == made.queue


def test_one_who_has_long_does_not_stand_before_one_who_has_not() -> None:
    """A crowd with an hour leaves room for a question with a second."""
    made = lane()
    fill(made, 0.0, 3600.0)
    assert made.judge(MIDDLE, 1.0, 0.0) is None
    assert Why.BUSY is made.judge(MIDDLE, 3600.0, 0.0)


def test_after_a_second_of_refusals_the_queue_is_cut() -> None:
    """A quarter of the places may wait then, at least one; when nobody has been refused for a moment it may fill again."""
    made = lane(limit=12)
    now = standing(made)
    assert 3 == fill(made, now, now + 0.8)
    made.queue.clear()
    assert 10 == fill(made, now + 0.13, now + 0.13 + 0.8 + 1e-9)
    small = lane(limit=2)
    now = standing(small)
    assert 1 == fill(small, now, now + 0.8)


def test_the_better_ones_have_the_whole_queue_while_worse_are_refused() -> None:
    """Low ones are shed first."""
    made = lane()
    now = standing(made)
    assert 1 == fill(made, now, now + 0.8, MIDDLE)
    assert 10 == fill(made, now, now + 0.8 + 1e-9, 4)
    assert Why.BUSY is made.judge(9, now + 0.8, now)


def test_the_last_leaves_the_queue_for_a_better_one() -> None:
    """Who could no longer be served in time does not wait in vain."""
    made = lane()
    fill(made, 0.0, 0.8 + 1e-9)
    last = made.queue[-1]
    outranked = [made.wait(0, 0.6, 0.0, Told())[1] for _ in range(20)]
    assert last in outranked
    assert last.gone
    assert not made.withdrawn(last)


def test_what_cannot_come_in_time_is_not_begun() -> None:
    """Once a second somebody tries all the same: the backend may have become quicker."""
    made = lane(quickest=0.5)
    made.answered(1, 0.5, 10.0)
    assert made.hopeless(10.4, 10.0)
    assert not made.hopeless(10.6, 10.0)
    assert not made.hopeless(11.5, 11.2)
    assert made.hopeless(11.5, 11.2)
    assert not lane().hopeless(0.0, 0.0)  # nothing is known


class Lanes(RuleBasedStateMachine):
    """Questions come, end, are cancelled while they wait, in flight, or between being given a place and hearing of it."""

    waiting: Bundle[Waiter] = Bundle("waiting")

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane(8)
        self.now = 0.0
        self.running = 0
        self.told: dict[Waiter, list[Why | None]] = {}

    @rule(priority=st.integers(0, 9), timeout=st.sampled_from([0.01, 0.5, 30.0]), target=waiting)
    def come(self, priority: int, timeout: float) -> Waiter:
        """One comes; a waiter of no queue where it need not wait, or may not."""
        lane, told = self.lane, Told()
        none = Waiter(priority, inf, told)
        none.gone = True
        if lane.in_flight < lane.limit and not lane.queue:
            lane.in_flight += 1
            self.running += 1
            return none
        if lane.judge(priority, self.now + timeout, self.now) is not None:
            return none
        waiter, outranked = lane.wait(priority, self.now + timeout, self.now, told)
        self.told[waiter] = told.words
        if outranked is not None:
            assert outranked is not waiter
            outranked.tell(Why.OUTRANKED)
        return waiter

    @precondition(lambda self: self.running)
    @rule(how=st.sampled_from(["answered", "unanswered", "rejected", "abandoned"]), seconds=st.floats(0, 10))
    def end(self, how: str, seconds: float) -> None:
        """One in flight ends; whoever's turn it is goes on."""
        lane = self.lane
        self.now += 0.01
        if how == "rejected":
            lane.rejected(lane.in_flight, self.now)
        elif how != "abandoned":
            getattr(lane, how)(lane.in_flight, seconds, self.now)
        self.running -= 1
        lane.in_flight -= 1
        self.hand_on()

    @rule(waiter=consumes(waiting))
    def leave(self, waiter: Waiter) -> None:
        """One that waits is cancelled, or its time is up, perhaps just when it has been given a place."""
        if self.lane.withdrawn(waiter):
            self.running -= 1
            self.hand_on()

    @rule(seconds=st.floats(0, 40))
    def wait_on(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    def hand_on(self) -> None:
        while (waiter := self.lane.turn()) is not None:
            assert not waiter.gone
            waiter.tell(None)
            self.running += 1

    @invariant()
    def counts(self) -> None:
        """Exactly those run that hold a place; nobody waits while there is room, but those that a lower limit left."""
        lane = self.lane
        assert lane.in_flight == self.running
        assert 1 <= lane.limit <= 8
        assert not lane.queue or lane.in_flight >= lane.limit
        assert lane.queue == sorted(lane.queue, key=lambda each: (each.priority, each.expires))
        assert all(len(words) <= 1 for words in self.told.values())
        assert all(not each.gone and not each.placed and not self.told[each] for each in lane.queue)


TestLanes = Lanes.TestCase
TestLanes.settings = settings(max_examples=100, stateful_step_count=60)
