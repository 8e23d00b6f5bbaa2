"""Several endpoints that answer alike, as one backend: who is asked next, how many at once, and what is asked once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any, TypeVar

from backends.admission import Why
from backends.alarms import Alarms
from backends.attempt import Attempt
from backends.balance import Balance
from backends.begun import Begun, Told
from backends.budget import Budget
from backends.deadline import Deadline
from backends.endpoint import AWAY, PLAIN, Endpoint, Key
from backends.errors import ErrorKind, InferenceError
from backends.inference import Description, InferenceRequest, InferenceResponse
from backends.places import ANSWERED, GIVEN_UP, Places
from backends.rules import Rules
from backends.schedule import Schedules
from backends.second import LOOK, Hedging
from backends.tries import Tries
from backends.triton_http import Form, TritonHttp

T = TypeVar("T")
Sent = Callable[[str, str, str], None]
"""Told of every attempt: cluster, endpoint, outcome (`ok`, an error's kind, `overtaken`, `abandoned`)."""
Repeated = Callable[[str, str], None]
"""Told of every attempt beyond a question's first: cluster, why (`retry`, `late`, `hedge`)."""
DESCRIPTIONS = 8  # questions about models at one cluster at once: an index of many models must not crowd out inference
BACKOFF = 0.025  # seconds; a retry waits for a random part of it
AGAIN = frozenset({ErrorKind.BROKEN, ErrorKind.OVERLOADED})  # failures after which another endpoint may have an answer


class Cluster:
    """A backend made of endpoints. A question has one place, however often it is repeated; who finds none waits a little or is
    refused with OVERLOADED, before anybody is asked.

    `sent` is told of every attempt, `repeated`, which may be set, of every one beyond a question's first; neither raises.
    """

    def __init__(self, name: str, endpoints: Sequence[Endpoint], balance: Balance, rules: Rules, sent: Sent) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self.rules = rules
        self.sent = sent
        self.places = Places(name, rules.max_in_flight, balance.chance, self.endpoints)
        self.alarms = Alarms()  # for questions that take long
        self.repeated: Repeated = _untold
        self.schedules: Schedules = {}  # what its models' queues obey, as far as is known
        self._balance = balance
        self._describing = asyncio.Semaphore(DESCRIPTIONS)
        most = max(10.0, rules.max_in_flight / 2)  # one of two endpoints may die with all it has
        self.retries = Budget(rules.retry.budget, most) if rules.retry else None
        self.hedging = Hedging(rules.hedge, most) if rules.hedge else None
        self._watching = len(self.endpoints) > 1 and bool(rules.retry or rules.hedge)

    @property
    def in_flight(self) -> int:
        """Questions that have a place."""
        return self.places.in_flight

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """One question; whatever may be asked once more is, as long as the rules and the deadline let it."""
        places, begun, ending = self.places, request.begun, GIVEN_UP
        if begun is not None and begun.cluster is self and begun.asks(request):
            lane, beside, began = begun.place
        else:
            begun, lane = None, places.lanes.get(request.model) or places.lane(request.model)
            if not places.enter(lane):
                await places.wait(lane, request, deadline)
            beside, began = lane.in_flight, monotonic()
        try:
            if begun is None and lane.concurrency.quickest > deadline.at - began and lane.hopeless(deadline.at, began):
                raise places.refused(Why.LATE)
            tries: Tries | None = None
            while True:
                if begun is None:
                    attempt = Attempt(self, *self._choose(request, tries), request, deadline)
                    infer = attempt.endpoint.backend.infer
                else:
                    attempt, infer, begun = begun.attempt(request, deadline), begun.response, None
                attempt.tries = tries
                try:
                    with attempt:
                        if self._watching:
                            self._watch(attempt)
                        response, ending = await infer(request, deadline), ANSWERED
                    return response
                except (InferenceError, asyncio.CancelledError) as error:
                    if attempt.second is not None and (second := await attempt.second.instead(error)) is not None:
                        return second
                    if not isinstance(error, InferenceError):
                        raise
                    tries = attempt.tries or Tries()
                    pause = self._again(tries, attempt, error)
                await asyncio.sleep(pause)
        except InferenceError as error:
            ending = error.kind
            raise
        finally:
            places.leave(lane, beside, began, ending, deadline)

    def form(self, request: InferenceRequest) -> Form | None:
        """By which `begin` asks questions like this one; None where each has to be looked at."""
        backend = self.endpoints[0].backend
        return backend.form(request) if isinstance(backend, TritonHttp) and self.hedging is None else None

    def begin(self, form: Form, deadline: Deadline, now: float, told: Told) -> Begun | None:
        """All that it takes to ask at once, where nobody need wait and nothing speaks against it; to be sent or released in the
        same turn of the loop. `told` is called when the answer is there, or takes long, or will not come.
        """
        places, request = self.places, form.request
        lane, endpoint = (
            places.lanes.get(request.model) or places.lane(request.model),
            self._balance.pick(self.endpoints, request),
        )
        backend = endpoint.backend
        if endpoint.sound and lane.concurrency.quickest <= deadline.at - now and isinstance(backend, TritonHttp):
            connection = backend.spare(form)
            if connection is not None:
                if places.enter(lane):
                    endpoint.in_flight += 1
                    place = lane, lane.in_flight, now
                    return Begun(self, place, deadline, endpoint, backend, connection, form, told)
                backend.leave(connection)
        self._balance.unpick()
        return None

    def unpick(self) -> None:
        """Whoever was chosen last was not asked."""
        self._balance.unpick()

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        """One question, any number of answers, all from one endpoint; it is asked once more only before the first answer."""
        tries, started, places = Tries(), False, self.places
        lane = places.lane(request.model)
        if not places.enter(lane):
            await places.wait(lane, request, deadline)
        beside, began, ending = lane.in_flight, monotonic(), GIVEN_UP
        try:
            while True:
                endpoint, probe = self._choose(request, tries)
                attempt = Attempt(self, endpoint, probe, request, deadline)
                try:
                    async with aclosing(_streamed(attempt)) as responses:
                        async for response in responses:
                            started = True
                            yield response
                    ending = ANSWERED
                    return
                except InferenceError as error:
                    if started:
                        raise
                    pause = self._again(tries, attempt, error)
                await asyncio.sleep(pause)
        except InferenceError as error:
            ending = error.kind
            raise
        finally:
            places.leave(lane, beside, began, ending, deadline)

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """Whether an endpoint that can be reached has the model ready."""
        return await self._reachable(
            lambda endpoint: endpoint.backend.ready(model, version, deadline), (model, version), deadline
        )

    async def describe(self, what: Description, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        """As the first endpoint that can be reached describes it."""
        key = (model, version)
        return await self._reachable(lambda endpoint: endpoint.backend.describe(what, model, version, deadline), key, deadline)

    def shut(self, model: str, version: str) -> bool:
        """Whether breakers, or operators, keep every question about the model from every endpoint now."""
        for endpoint in self.endpoints:
            if endpoint.sound:
                return False
        key, now = (model, version), monotonic()
        return all(endpoint.shut(key, now) for endpoint in self.endpoints)

    async def close(self) -> None:
        """Closes every endpoint's connections, each as soon as it has nothing in flight."""
        await asyncio.gather(*(endpoint.backend.close() for endpoint in self.endpoints))

    def choose(self, endpoints: Sequence[Endpoint], request: InferenceRequest) -> tuple[Endpoint, int] | None:
        """One of those that least speaks against, and what its `enter` gave; None where all are away, or there are none."""
        if not endpoints:
            return None
        endpoint = self._balance.pick(endpoints, request)
        return (endpoint, PLAIN) if endpoint.sound else self._weigh(endpoint, endpoints, request)

    def _weigh(self, endpoint: Endpoint, endpoints: Sequence[Endpoint], request: InferenceRequest) -> tuple[Endpoint, int] | None:
        """The picked endpoint, or another one where more speaks against it."""
        now, key = monotonic(), (request.model, request.version)
        doubts = [endpoint.doubt(key, now) for endpoint in endpoints]
        least = min(doubts)
        if least == AWAY:
            return None
        found = [endpoint for endpoint, doubt in zip(endpoints, doubts, strict=True) if doubt == least]
        while endpoint not in found or (len(found) > 1 and self._balance.chance() >= endpoint.weight(now)):
            found = [each for each in found if each is not endpoint]
            endpoint = self._balance.instead(found, request)
        return endpoint, endpoint.enter(key, now)

    def unreachable(self) -> InferenceError:
        """Nobody is there."""
        message = f"no endpoint of backend '{self.name}' can be reached: try again shortly"
        return InferenceError(ErrorKind.UNAVAILABLE, message, source=self.name, retry_after=self.places.pause())

    def _choose(self, request: InferenceRequest, tries: Tries | None) -> tuple[Endpoint, int]:
        """Whom to ask. Raises UNAVAILABLE, or the failure so far, where nobody can be."""
        if tries is None:
            endpoint = self._balance.pick(self.endpoints, request)
            if endpoint.sound:
                return endpoint, PLAIN
            found = self._weigh(endpoint, self.endpoints, request)
        else:
            fresh = [endpoint for endpoint in self.endpoints if endpoint not in tries.tried]
            found = self.choose(fresh, request) or self.choose([each for each in tries.tried if each not in tries.gone], request)
        if found is not None:
            return found
        if tries is not None and tries.failure is not None:
            raise tries.failure
        raise self.unreachable()

    def may_repeat(self, tries: Tries | None) -> bool:
        """Whether the rules allow a question one attempt more than those that failed and the one under way."""
        retry = self.rules.retry
        return retry is not None and (0 if tries is None else tries.count) + 1 < retry.attempts

    def unwatch(self, attempt: Attempt, error: BaseException | None) -> None:
        """A watched attempt has ended."""
        self.alarms.clear(attempt)
        second = attempt.second
        if second is not None:
            second.first_ended()
            if not isinstance(error, InferenceError) and not second.overtaken:  # else its answer may be wanted
                second.end()
        attempt.task = None
        if self.hedging is not None and (error is None or (second is not None and second.overtaken)):
            self.hedging.of(attempt).took(monotonic() - attempt.began)

    def _watch(self, attempt: Attempt) -> None:
        """Sees to it that the attempt gets company if it takes long."""
        attempt.task = asyncio.current_task()
        attempt.began = now = attempt.began or monotonic()
        at = min(now + LOOK, (now + attempt.deadline.at) / 2)
        if self.hedging is not None:
            self.hedging.budget.earned()
            usual = self.hedging.of(attempt).quantile
            if usual is not None:
                attempt.hedge_at = now + usual
                at = min(at, attempt.hedge_at)
        self.alarms.set(attempt, at)

    def _again(self, tries: Tries, attempt: Attempt, error: InferenceError) -> float:
        """Seconds until the question is asked once more. Raises its first failure where it is not; that time is up, as such."""
        if error.kind is ErrorKind.DEADLINE:
            raise error
        tries.failure = tries.failure or error
        error.ended()
        tries.tried.append(attempt.endpoint)
        if _unreached(error):  # nothing was asked there, so nothing is repeated
            tries.gone.append(attempt.endpoint)
            return 0.0
        may = error.kind in AGAIN and self.may_repeat(tries) and attempt.request.repeatable
        tries.count += 1
        pause = BACKOFF * self._balance.chance()
        if not may or monotonic() + pause >= attempt.deadline.at or self.retries is None or not self.retries.take():
            raise tries.failure
        self.repeated(self.name, "retry")
        return pause

    async def _reachable(self, ask: Callable[[Endpoint], Awaitable[T]], key: Key, deadline: Deadline) -> T:
        """The first endpoint's word that can be had, once it is this question's turn; those in doubt are asked last."""
        failure: InferenceError | None = None
        now, chance = monotonic(), self._balance.chance
        try:
            async with asyncio.timeout_at(deadline.at), self._describing:
                for endpoint in sorted(self.endpoints, key=lambda endpoint: (endpoint.doubt(key, now), chance())):
                    try:
                        return await ask(endpoint)
                    except InferenceError as error:
                        if not _unreached(error):
                            raise
                        failure = failure or error
        except TimeoutError:
            message = f"backend '{self.name}' did not answer in time"
            raise InferenceError(ErrorKind.DEADLINE, message, source=self.name) from None
        assert failure is not None, "the configuration's check: a cluster has an endpoint"
        raise failure


async def _streamed(attempt: Attempt) -> AsyncGenerator[InferenceResponse, None]:
    with attempt:
        async with aclosing(attempt.endpoint.backend.stream(attempt.request, attempt.deadline)) as responses:
            async for response in responses:
                yield response


def _untold(cluster: str, why: str) -> None:
    """Nobody counts."""


def _unreached(error: InferenceError) -> bool:
    return error.kind is ErrorKind.UNAVAILABLE and error.retryable
