"""When a question that takes long is asked at another endpoint as well: by a hedge soon, or late, because the first may hang.

A hedge (Dean and Barroso, The Tail at Scale, 2013) comes after the endpoint's own quantile of this model's latest answers.
Late is half the time that the question has, or as soon as the endpoint's checks are not answered any more. The first attempt goes
on either way: one that is merely slow is not lost.
"""

from __future__ import annotations

from collections.abc import Coroutine
from time import monotonic
from typing import Any

from backends.attempt import Attempt
from backends.budget import Budget
from backends.endpoint import Key
from backends.inference import InferenceResponse
from backends.latency import Latency
from backends.race import Race
from backends.rules import Hedge
from backends.tries import Tries

LOOK = 0.1  # seconds between looks whether the endpoint still answers its checks
MOST_MODELS = 1024


class Hedging:
    """What hedges know and may do: how long each endpoint's models take, and the budget."""

    def __init__(self, hedge: Hedge, max_in_flight: int) -> None:
        self._hedge = hedge
        self.budget = Budget(hedge.budget, max(10.0, max_in_flight / 20))
        self._latencies: dict[tuple[str, Key], Latency] = {}

    def of(self, attempt: Attempt) -> Latency:
        """The latest answers of the attempt's endpoint about its model."""
        key = (attempt.endpoint.address, (attempt.request.model, attempt.request.version))
        found = self._latencies.get(key)
        if found is None:
            if len(self._latencies) >= MOST_MODELS:
                self._latencies.clear()
            found = self._latencies[key] = Latency(self._hedge.after)
        return found


class Second:
    """One attempt that may get company."""

    __slots__ = ("_attempt", "_began", "_half", "_hedge_at", "_hedging", "_retries", "_tries")

    def __init__(self, attempt: Attempt, tries: Tries, hedging: Hedging | None, retries: Budget | None) -> None:
        self._attempt = attempt
        self._tries = tries
        self._hedging = hedging
        self._retries = retries
        self._began = monotonic()
        self._half = (self._began + attempt.deadline.at) / 2
        self._hedge_at: float | None = None
        if hedging is not None:
            hedging.budget.offered()
            usual = hedging.of(attempt).quantile
            self._hedge_at = None if usual is None else self._began + usual

    async def run(self) -> InferenceResponse:
        """The first answer. Raises the attempt's own failure where nobody answers."""
        attempt = self._attempt
        attempt.race = Race(attempt.cluster.alarms, self._late)
        response: InferenceResponse = await attempt.race.run(_asked(attempt), self._next(self._began))
        if self._hedging is not None:
            self._hedging.of(attempt).took(monotonic() - self._began)
        return response

    def _next(self, now: float) -> float:
        look = min(now + LOOK, self._half) if self._retries is not None else self._half
        return look if self._hedge_at is None else min(look, self._hedge_at)

    def _late(self) -> Coroutine[Any, Any, InferenceResponse] | float | None:
        now = monotonic()
        if not self._attempt.request.repeatable:
            return None
        if self._hedge_at is not None and now >= self._hedge_at:
            self._hedge_at = None
            if self._hedging is not None and self._hedging.budget.take():
                return self._ask_another("hedge")
        rules = self._attempt.cluster.rules.retry
        if self._retries is None or rules is None or self._tries.count + 1 >= rules.attempts:
            return None if self._hedge_at is None else self._hedge_at
        if now < self._half and self._attempt.endpoint.up:
            return self._next(now)
        self._attempt.slow = True
        return self._ask_another("late") if self._retries.take() else None

    async def _ask_another(self, why: str) -> InferenceResponse:
        """The answer of an endpoint that was not asked yet; chosen here, since a task that is cancelled early never begins."""
        attempt, tries = self._attempt, self._tries
        cluster, request = attempt.cluster, attempt.request
        others = [each for each in cluster.endpoints if each is not attempt.endpoint and each not in tries.tried]
        found = cluster.choose(others, request)
        if found is None:
            raise cluster.unreachable()
        cluster.repeats[why] += 1
        tries.count += 1
        tries.tried.append(found[0])
        return await _asked(Attempt(cluster, *found, request, attempt.deadline))


async def _asked(attempt: Attempt) -> InferenceResponse:
    with attempt:
        return await attempt.endpoint.backend.infer(attempt.request, attempt.deadline)
