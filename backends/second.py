"""When a question that takes long is asked at another endpoint as well: by a hedge soon, or late, because the first may hang.

A hedge (Dean and Barroso, The Tail at Scale, 2013) comes after the endpoint's own quantile of this model's latest answers.
Late is half the time that the question has, or as soon as the endpoint's checks are not answered any more. The first attempt goes
on either way: one that is merely slow is not lost. The first answer is taken, and whoever has not answered is let go.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from backends.budget import Budget
from backends.endpoint import Key
from backends.errors import InferenceError
from backends.inference import InferenceResponse
from backends.latency import Latency
from backends.rules import Hedge

if TYPE_CHECKING:
    from backends.attempt import Attempt

LOOK = 0.1  # seconds between looks whether the endpoint still answers its checks
MOST_MODELS = 1024


class Hedging:
    """What hedges know and may do: how long each endpoint's models take, and the budget."""

    def __init__(self, hedge: Hedge, most: float) -> None:
        self._hedge = hedge
        self.budget = Budget(hedge.budget, most)
        self._latencies: dict[tuple[str, Key], Latency] = {}

    def of(self, attempt: Attempt) -> Latency:
        """The latest answers of the attempt's endpoint about its model."""
        key = (attempt.endpoint.address, attempt.key)
        found = self._latencies.get(key)
        if found is None:
            if len(self._latencies) >= MOST_MODELS:
                self._latencies.clear()
            found = self._latencies[key] = Latency(self._hedge.after)
        return found


class Second:
    """The company of one attempt that takes long. Before it is made such an attempt costs an alarm, and no task.

    The second attempt runs in a task of its own. If it wins, the first is interrupted as a deadline would (policies.deadline):
    by a cancellation of the task that asks, which is caught there. `slow`: the first had so much time that losing is a failure.
    The attempt holds it and is not held: a circle would keep the question's tensors until the collector comes.
    """

    __slots__ = ("_half", "_pending", "_running", "_task", "overtaken", "slow", "won")

    def __init__(self, attempt: Attempt) -> None:
        self._half = (attempt.began + attempt.deadline.at) / 2
        self._task: asyncio.Task[Any] | None = None  # of the first, once there is a second
        self._running: asyncio.Task[InferenceResponse] | None = None
        self._pending = 0
        self.overtaken = self.won = self.slow = False

    def late(self, attempt: Attempt) -> None:
        """The first takes long: asks somebody else, or looks again later, or never."""
        cluster, now = attempt.cluster, monotonic()
        if not attempt.request.repeatable:
            return
        hedging, hedge_at = cluster.hedging, attempt.hedge_at
        if hedging is not None and hedge_at is not None and now >= hedge_at:
            attempt.hedge_at = hedge_at = None
            if hedging.budget.take():
                self._ask(attempt, "hedge")
                return
        if cluster.retries is None or not cluster.may_repeat(attempt.tries):
            if hedge_at is not None:
                cluster.alarms.set(attempt, hedge_at)
        elif now < self._half and attempt.endpoint.up:
            look = min(now + LOOK, self._half)
            cluster.alarms.set(attempt, look if hedge_at is None else min(look, hedge_at))
        elif cluster.retries.take():
            self.slow = True
            self._ask(attempt, "late")

    def first_ended(self) -> None:
        """The first attempt has ended, one way or another, in its own task."""
        task, self._task = self._task, None
        if self.overtaken and task is not None:
            # Somebody else's cancellation may have come too: then more than ours is pending, and it goes on.
            self.won = task.cancelling() <= self._pending + 1
            task.uncancel()

    def end(self) -> None:
        """Nobody waits for the second any more."""
        if self._running is not None:
            self._running.cancel()

    async def instead(self, error: InferenceError | asyncio.CancelledError) -> InferenceResponse | None:
        """The second's answer in the place of how the first ended; None if there is none, or nobody waits any more."""
        if self._running is None or (isinstance(error, asyncio.CancelledError) and not self.won):
            return None
        try:
            return await self._running
        except InferenceError as error:
            error.ended()
            return None
        finally:
            self._running.cancel()

    def _ask(self, attempt: Attempt, why: str) -> None:
        self._task = attempt.task
        self._running = asyncio.get_running_loop().create_task(_asked(attempt, why))
        self._running.add_done_callback(self._answered)

    def _answered(self, second: asyncio.Task[InferenceResponse]) -> None:
        if second.cancelled():
            return
        error = second.exception()  # asking for it marks it as seen
        if error is not None:
            if isinstance(error, InferenceError):
                error.ended()
            return
        if self._task is not None:
            self._pending = self._task.cancelling()
            self.overtaken = True
            self._task.cancel()


async def _asked(first: Attempt, why: str) -> InferenceResponse:
    """Chooses here, since a task that is cancelled early never begins, and would not give a permit back."""
    attempt = first.elsewhere(why)
    del first  # it holds this task, which keeps the error that ended it, and so this frame
    with attempt:
        return await attempt.endpoint.backend.infer(attempt.request, attempt.deadline)
