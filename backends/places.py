"""The places of one cluster, by model and in all: taken, waited for, given back, and handed on to whoever's turn it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic

from backends.admission import MIDDLE, Lane, Waiter, Why
from backends.alarms import TICK, Alarms
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from backends.promise import Promise

RETRY_AFTER = 3.0  # seconds at most, for clients; by chance less, lest all of them come back at once: told are 1, 2 or 3
LOOK = 0.1  # seconds between looks, while somebody waits, for endpoints that have fallen silent
SILENT = 4  # times as long as an answer usually takes, and not less than LOOK
ANSWERED, GIVEN_UP = "ok", ""  # endings beside the kinds of errors
_MESSAGES = {
    Why.FULL: "backend '{}' has as many requests in flight as its policy allows",
    Why.BUSY: "backend '{}' has more requests for this model than it can answer soon",
    Why.WAITED: "backend '{}' had no place for this request while it waited",
    Why.OUTRANKED: "backend '{}' is busy with requests of better priority",
}


class Places:
    """`most` is what the policy allows in all; what each model may have of that is its Lane's to find out.

    `source` is the cluster's name, in errors. Used on one loop only.
    """

    def __init__(self, source: str, most: int, chance: Callable[[], float], endpoints: Sequence[Endpoint] = ()) -> None:
        self.most = most
        self.in_flight = 0
        self.lanes: dict[str, Lane] = {}  # models are named by the policy: there are no more than it names
        self.left: Callable[[], None] = _untold  # who waited left
        self._heard = {endpoint: (endpoint.answers, -inf) for endpoint in endpoints}  # how many answers, and since when no more
        self._alarms = Alarms()  # of who waits
        self._source = source
        self._chance = chance

    def lane(self, model: str) -> Lane:
        """The model's, made when first asked for."""
        lane = self.lanes.get(model)
        if lane is None:
            lane = self.lanes[model] = Lane(self.most)
        return lane

    def enter(self, lane: Lane) -> bool:
        """Takes a place if there is one and nobody waits for it."""
        if lane.in_flight >= lane.limit or self.in_flight >= self.most or lane.queue:
            return False
        lane.in_flight += 1
        self.in_flight += 1
        return True

    async def wait(self, lane: Lane, request: InferenceRequest, deadline: Deadline) -> None:
        """Returns with a place. Raises OVERLOADED, at once or when it has waited in vain; DEADLINE where it is too late."""
        now, priority = monotonic(), MIDDLE if request.priority is None else request.priority
        self._listen(lane, now)
        if self.enter(lane):
            return
        late = now + lane.concurrency.quickest > deadline.at  # may not even try: who waits has no time for that
        why = Why.LATE if late else lane.judge(priority, deadline.at, now)
        if why is not None:
            raise self.refused(why)
        promise: Promise[Why | None] = Promise(asyncio.get_running_loop())
        waiter, outranked = lane.wait(priority, deadline.at, now, promise.set_result)
        if outranked is not None:
            outranked.tell(Why.OUTRANKED)
        watch = _Watch(self, lane, waiter)
        self._alarms.set(watch, min(waiter.expires, now + LOOK))
        try:
            why = await promise
        except asyncio.CancelledError:
            self._withdraw(lane, waiter)
            if monotonic() < deadline.at:
                self.left()
            raise
        finally:
            self._alarms.clear(watch)
        if why is not None:
            self._withdraw(lane, waiter)
            raise self.refused(why)

    def back(self, lane: Lane) -> None:
        """Gives a place back that was taken and not used."""
        lane.in_flight -= 1
        self.in_flight -= 1
        if lane.queue or self.in_flight == self.most - 1:
            self._hand_on(lane)

    def leave(self, lane: Lane, beside: int, began: float, ending: str, deadline: Deadline) -> float:
        """Gives a place back; it was taken at `began` as the last of so many, and the ending tells how worthwhile that was.

        Seconds for which it was taken.
        """
        now = monotonic()
        if ending == ANSWERED:
            lane.answered(beside, now - began, now)
        elif ending == ErrorKind.OVERLOADED:
            lane.rejected(beside, now)
        elif ending == ErrorKind.DEADLINE or (ending == GIVEN_UP and now >= deadline.at):
            lane.unanswered(beside, now - began, now)
        lane.in_flight -= 1  # as in back, without a call
        self.in_flight -= 1
        if lane.queue or self.in_flight == self.most - 1:
            self._hand_on(lane)
        return now - began

    def refusal(self, model: str, priority: int, deadline: float) -> InferenceError | None:
        """What to tell a question about the model that comes now, which counts as refused then; None if it may come."""
        lane = self.lanes.get(model)
        if lane is None or (lane.in_flight < lane.limit and self.in_flight < self.most):
            return None
        why = lane.judge(priority, deadline, monotonic())
        return None if why is None else self.refused(why)

    def refused(self, why: Why) -> InferenceError:
        """In the words for clients."""
        if why is Why.LATE:
            message = f"backend '{self._source}' takes longer than the deadline allows, even at its quickest: allow more time"
            return InferenceError(ErrorKind.DEADLINE, message, source=self._source, reason=why.value)
        if self.in_flight >= self.most:
            why = Why.FULL
        message = _MESSAGES[why].format(self._source) + ": try again after a pause"
        return InferenceError(ErrorKind.OVERLOADED, message, source=self._source, reason=why.value, retry_after=self.pause())

    def pause(self) -> float:
        """Seconds after which to try again."""
        return RETRY_AFTER * (1 - self._chance())

    def look(self, lane: Lane, watch: _Watch) -> None:
        """Somebody still waits: perhaps only because an endpoint has fallen silent."""
        now = monotonic()
        self._listen(lane, now)
        self._turns(lane)
        if not watch.waiter.placed:
            self._alarms.set(watch, min(watch.waiter.expires, now + LOOK))

    def again(self, watch: _Watch, at: float) -> None:
        """It is to be told at that moment once more."""
        self._alarms.set(watch, at)

    def _listen(self, lane: Lane, now: float) -> None:
        """Finds out what is stuck: all that is at endpoints which have not answered for long, while others do."""
        if len(self._heard) < 2:
            return
        long, silent, stuck = max(LOOK, SILENT * lane.concurrency.pace * lane.concurrency.limit), 0, 0
        for endpoint, (answers, since) in self._heard.items():
            if endpoint.answers != answers or not endpoint.in_flight or since == -inf:
                self._heard[endpoint] = (endpoint.answers, now)
            elif now - since > long:
                silent += 1
                stuck += endpoint.in_flight
        lane.adjust(min(stuck, lane.in_flight) if silent < len(self._heard) else 0)

    def _withdraw(self, lane: Lane, waiter: Waiter) -> None:
        if lane.withdrawn(waiter):
            self.in_flight -= 1
            self._hand_on(lane)

    def _hand_on(self, lane: Lane) -> None:
        """A place is free: the lane's own turn first, then, where all the places together were taken, the others'."""
        if lane.queue:
            self._turns(lane)
        if self.in_flight == self.most - 1 and len(self.lanes) > 1:
            for other in self.lanes.values():
                self._turns(other)

    def _turns(self, lane: Lane) -> None:
        while self.in_flight < self.most and (waiter := lane.turn()) is not None:
            self.in_flight += 1
            waiter.tell(None)


def _untold() -> None:
    """Nobody counts."""


class _Watch:
    """The alarm of one that waits."""

    __slots__ = ("_lane", "_places", "_stood_still", "waiter")

    def __init__(self, places: Places, lane: Lane, waiter: Waiter) -> None:
        self._places = places
        self._lane = lane
        self._stood_still = False
        self.waiter = waiter

    def expire(self) -> None:
        """It has waited long enough, or for a while."""
        now = monotonic()
        if now + TICK < self.waiter.expires:
            self._places.look(self._lane, self)
        elif now > self.waiter.expires + LOOK and not self._stood_still:
            self._stood_still = True  # this process, or its machine, and so perhaps the backend: it may answer in a moment
            self._places.again(self, now + LOOK)
        else:
            self.waiter.tell(Why.WAITED)
