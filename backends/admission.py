"""Who may ask a model at a cluster now, who waits a moment for that, and who had better be told no at once.

A lane has as many places as its Concurrency says. Who finds none may wait if the queue before him will be served within a share
of the time that he has. That is all in the first second of a crowd, which may be a burst and over soon: bursts are taken up. Who
comes later may only have a brief wait, or add hardly more to the lane than there has been in it lately: so a crowd of clients
each of whom asks when he has been answered is taken in, but a load that only grows is not. Once refusals have gone on for
STANDING seconds only a quarter of the places may wait: a standing queue is just latency (CoDel, Nichols and Jacobson 2012).
Those who wait go by priority, then by deadline, so that who has a minute does not stand before who has a second. Who is better
than all that are refused may use the whole queue, and those behind him may have to leave it.

Decided about between two awaits. Told the time, never asks. Who finds room enters and leaves by backends.places; of the others:

    judge       no room: may it wait?                        -> why not, if not: it is refused
    wait        it may                                       -> waiting; somebody else may be OUTRANKED
    turn        room, and somebody waits                     -> in flight
    withdrawn   one that waited is refused, or has left      -> gone; if it had a place, that is free
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from enum import StrEnum
from math import inf

from backends.concurrency import Concurrency

WAITS = 1 / 8  # the share of a question's time that it may be expected to wait; what it waits in fact may be twice that
HASTE = 1.0  # seconds; whoever has more than a few of these is in no hurry and may wait for half of the rest
LONGEST = 5.0  # seconds that it may be expected to wait, whatever time it has
SPARE = 10  # that may wait though as many have not been in the lane lately
BRIEF, SMALL, NOTICED = 0.025, 1 / 20, 0.5  # a wait that is nothing: seconds, or a share of its time up to so many seconds
UNKNOWN = 256  # that may wait while nothing is known of how long answers take
WINDOW = 1.0  # seconds that "lately" is long, up to twice
STANDING = 1.0  # seconds until a crowd is no burst, and of refusals until the queue is cut
CALM = 0.05  # seconds without a refusal, at least, until it may fill again
TRIED = 1.0  # seconds after the last answer, after which somebody may try what seems to be hopeless
MIDDLE = 5  # the priority of who claims none


class Why(StrEnum):
    """Why a question is not asked: the words of `penstock_shed_total`."""

    FULL = "max-in-flight"  # the policy's own bound is reached
    BUSY = "busy"  # no place, and none to be expected soon enough
    WAITED = "waited"  # no place came while it waited
    OUTRANKED = "outranked"  # better ones took its place in the queue
    LATE = "no-time"  # even the quickest answer would come after its deadline


class Waiter:
    """One question in a queue. `tell` is called with None when it has a place, or with why it shall not have one."""

    __slots__ = ("expires", "gone", "placed", "priority", "tell")

    def __init__(self, priority: int, expires: float, tell: Callable[[Why | None], None]) -> None:
        self.priority = priority
        self.expires = expires
        self.tell = tell
        self.placed = False
        self.gone = False


class Lane:
    """The places for one model. `limit` follows the concurrency, `stuck` apart; `queue` is in the order of its turns."""

    __slots__ = (
        *("_before", "_began", "_eased", "_heard", "_most", "_pressed", "_refused", "_shed", "_since"),
        *("concurrency", "in_flight", "limit", "queue", "stuck"),
    )

    def __init__(self, ceiling: int) -> None:
        self.concurrency = Concurrency(ceiling)
        self.limit = self.concurrency.limit
        self.in_flight = 0
        self.stuck = 0  # in flight where nobody answers: they have a place, and it is nobody else's
        self.queue: list[Waiter] = []
        self._heard = -inf  # when the last answer came
        self._pressed = self._eased = -inf  # when a question last found no place; and when it did for the first time in a while
        self._began = inf  # of a time in which questions are refused
        self._refused = -inf  # when the last one was
        self._shed = -1  # the worst priority among them
        self._since = -inf  # the beginning of a window
        self._most = self._before = (
            0  # that were in the lane at once in this window; as many and a few more than in the one before
        )

    def hopeless(self, deadline: float, now: float) -> bool:
        """Whether even the quickest answer would come too late; now and then one may try, or nobody would ever know better."""
        if now + self.concurrency.quickest <= deadline:
            return False
        if now - self._heard > TRIED:
            self._heard = now
            return False
        return True

    def judge(self, priority: int, deadline: float, now: float) -> Why | None:
        """Why a question that has found no place may not wait for one, and counts as refused; None if it may."""
        concurrency = self.concurrency
        concurrency.pressed()
        if now - self._pressed > CALM:
            self._eased = now
        self._pressed = now
        turn = (priority, self._expires(deadline, now))
        ahead = bisect_right(self.queue, turn, key=_turn)
        if priority >= self._shed and now - self._began > STANDING and not self._calm(now):
            may = ahead < max(1, self.limit // 4)
        elif concurrency.pace:
            wait, room = (ahead + 1) * concurrency.pace, self._room(now)
            free = wait <= _brief(deadline, now) or now - self._eased <= STANDING
            may = wait <= _patience(deadline, now) and (free or ahead + self.in_flight < room)
        else:
            may = ahead < UNKNOWN
        if may:
            return None
        self._refuse(priority, now)
        return Why.BUSY

    def wait(
        self, priority: int, deadline: float, now: float, tell: Callable[[Why | None], None]
    ) -> tuple[Waiter, Waiter | None]:
        """Puts it in its place in the queue; the second is who must leave the queue for that, and is to be told."""
        waiter, queue = Waiter(priority, self._expires(deadline, now), tell), self.queue
        insort(queue, waiter, key=_turn)
        self._most = max(self._most, self.in_flight + len(queue))
        last = queue[-1]
        if last is waiter or now + len(queue) * self.concurrency.pace <= last.expires:
            return waiter, None
        self._refuse(last.priority, now)
        last.gone = True
        return waiter, queue.pop()

    def turn(self) -> Waiter | None:
        """Whose turn it is, if there is room; it has a place now and is to be told."""
        if self.in_flight >= self.limit or not self.queue:
            return None
        waiter = self.queue.pop(0)
        waiter.placed = True
        self.in_flight += 1
        return waiter

    def withdrawn(self, waiter: Waiter) -> bool:
        """It has left, or is refused; whether it had a place, which is free now."""
        if waiter.placed:
            self.in_flight -= 1
            return True
        if not waiter.gone:
            waiter.gone = True
            self.queue.remove(waiter)
        return False

    def answered(self, beside: int, seconds: float, now: float) -> None:
        """One in flight, sent as the last of so many, had its answer. Its place is not free yet."""
        self._heard = now
        self.concurrency.took(beside, seconds, now)
        if self.limit != self.concurrency.limit + self.stuck:
            self._room(now)
            self._most = max(self._most, self.in_flight + len(self.queue))
            self.adjust(self.stuck)

    def adjust(self, stuck: int) -> None:
        """So many are stuck now."""
        self.stuck = stuck
        self.limit = self.concurrency.limit + stuck

    def unanswered(self, beside: int, seconds: float, now: float) -> None:
        """The same for one whose time was up before an answer came."""
        self.concurrency.outlasted(beside, seconds, now)
        self.adjust(self.stuck)

    def rejected(self, beside: int, now: float) -> None:
        """The same for one that the backend had no room for."""
        self.concurrency.rejected(beside, now)
        self.adjust(self.stuck)

    def _room(self, now: float) -> int:
        """How many may be in the lane: as many as lately; a few more if nobody was refused, or there was room in between."""
        if now - self._since > WINDOW:
            most = self._most if now - self._since < 2 * WINDOW else 0
            self._before = most if self._refused > self._since > self._eased else most + max(2 * SPARE, most // 4)
            self._since, self._most = now, 0
        return max(self.limit + SPARE, self._before, self._most)

    def _expires(self, deadline: float, now: float) -> float:
        """When waiting is over: never so late that no answer could come in time."""
        return min(now + 2 * _patience(deadline, now), deadline - self.concurrency.quickest)

    def _calm(self, now: float) -> bool:
        return now - self._refused > max(CALM, self.concurrency.pace * self.limit)

    def _refuse(self, priority: int, now: float) -> None:
        if self._calm(now):
            self._began, self._shed = now, -1
        self._refused, self._shed = now, max(self._shed, priority)


def _turn(waiter: Waiter) -> tuple[int, float]:
    return waiter.priority, waiter.expires


def _brief(deadline: float, now: float) -> float:
    return min(max(BRIEF, SMALL * (deadline - now)), NOTICED)


def _patience(deadline: float, now: float) -> float:
    time = deadline - now
    return min(max(WAITS * time, time / 2 - HASTE), LONGEST)
