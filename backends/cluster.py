"""Several endpoints that answer alike, as one backend: who is asked next, how many at once, and where to go when one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend, Description, InferenceRequest, InferenceResponse

T = TypeVar("T")
Chance = Callable[[], float]  # uniform in [0, 1)
Sent = Callable[[str, str, str], None]  # told of every attempt: cluster, endpoint, outcome (`ok`, an error's kind, `abandoned`)
DESCRIPTIONS = 8  # questions about models at one cluster at once: an index of many models must not crowd out inference


@dataclass(slots=True)
class Endpoint:
    """One address of a cluster. `in_flight` counts questions that have not ended."""

    address: str
    backend: Backend
    in_flight: int = 0


class Balance:
    """Orders the endpoints for one question: the one to ask first, then those to try if it cannot be reached.

    least-request: the less busy of two taken at random (Mitzenmacher 2001), which spreads load without everybody running to
    the same idle one. round-robin: each in turn.
    """

    def __init__(self, kind: str, chance: Chance) -> None:
        self._kind = kind
        self._chance = chance
        self._turn = 0

    def order(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """All endpoints, first choice first."""
        count = len(endpoints)
        if count == 1:
            return endpoints
        if self._kind == "round-robin":
            start, self._turn = self._turn % count, self._turn + 1
        else:
            one = int(self._chance() * count)
            other = (one + 1 + int(self._chance() * (count - 1))) % count
            start = min(one, other, key=lambda index: endpoints[index].in_flight)
        return [*endpoints[start:], *endpoints[:start]]


class Cluster:
    """A backend made of endpoints. Refuses with OVERLOADED past `max_in_flight` questions, before anybody is asked."""

    def __init__(self, name: str, endpoints: Sequence[Endpoint], balance: Balance, max_in_flight: int, sent: Sent) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self.in_flight = 0
        self._balance = balance
        self._max_in_flight = max_in_flight
        self.sent = sent
        self._describing = asyncio.Semaphore(DESCRIPTIONS)

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """One question; an endpoint that cannot be reached at all is passed over, since nothing was asked there."""
        self._admit()
        failure: InferenceError | None = None
        try:
            for endpoint in self._balance.order(self.endpoints):  # as `_reachable`, less a coroutine and a closure: 1 µs
                try:
                    with _Attempt(self, endpoint, deadline):
                        return await endpoint.backend.infer(request, deadline)
                except InferenceError as error:
                    if not _unreached(error):
                        raise
                    failure = failure or error
            assert failure is not None, "the configuration's check: a cluster has an endpoint"
            raise failure
        finally:
            self.in_flight -= 1

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        """One question, any number of answers, all from one endpoint; another is tried only before the first answer."""
        self._admit()
        try:
            failure: InferenceError | None = None
            for endpoint in self._balance.order(self.endpoints):
                started = False
                try:
                    async with aclosing(self._streamed(endpoint, request, deadline)) as responses:
                        async for response in responses:
                            started = True
                            yield response
                    return
                except InferenceError as error:
                    if started or not _unreached(error):
                        raise
                    failure = failure or error
            assert failure is not None, "the configuration's check: a cluster has an endpoint"
            raise failure
        finally:
            self.in_flight -= 1

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """Whether an endpoint that can be reached has the model ready."""
        return await self._reachable(lambda endpoint: endpoint.backend.ready(model, version, deadline), deadline)

    async def describe(self, what: Description, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        """As the first endpoint that can be reached describes it."""
        return await self._reachable(lambda endpoint: endpoint.backend.describe(what, model, version, deadline), deadline)

    async def close(self) -> None:
        """Closes every endpoint's connections, each as soon as it has nothing in flight."""
        await asyncio.gather(*(endpoint.backend.close() for endpoint in self.endpoints))

    def _admit(self) -> None:
        if self.in_flight >= self._max_in_flight:
            raise InferenceError(
                ErrorKind.OVERLOADED,
                f"backend '{self.name}' has {self.in_flight} requests in flight, its limit: try again shortly",
                reason="max-in-flight",
                retry_after=1.0,
            )
        self.in_flight += 1

    async def _streamed(
        self, endpoint: Endpoint, request: InferenceRequest, deadline: Deadline
    ) -> AsyncGenerator[InferenceResponse, None]:
        with _Attempt(self, endpoint, deadline):
            async with aclosing(endpoint.backend.stream(request, deadline)) as responses:
                async for response in responses:
                    yield response

    async def _reachable(self, ask: Callable[[Endpoint], Awaitable[T]], deadline: Deadline) -> T:
        """The first endpoint's word that can be had, once it is this question's turn."""
        failure: InferenceError | None = None
        try:
            async with asyncio.timeout_at(deadline.at), self._describing:
                for endpoint in self._balance.order(self.endpoints):
                    try:
                        return await ask(endpoint)
                    except InferenceError as error:
                        if not _unreached(error):
                            raise
                        failure = failure or error
        except TimeoutError:
            message = f"backend '{self.name}' did not answer in time"
            raise InferenceError(ErrorKind.DEADLINE, message, source=self.name) from None
        assert failure is not None
        raise failure


class _Attempt:
    """Counts one attempt at an endpoint while it lasts, and tells its ending: ok, failed or abandoned."""

    __slots__ = ("_cluster", "_deadline", "_endpoint")

    def __init__(self, cluster: Cluster, endpoint: Endpoint, deadline: Deadline) -> None:
        self._cluster = cluster
        self._endpoint = endpoint
        self._deadline = deadline

    def __enter__(self) -> None:
        self._endpoint.in_flight += 1

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._endpoint.in_flight -= 1
        if error is None:
            outcome = "ok"
        elif isinstance(error, InferenceError):
            outcome = error.kind.value
        else:
            outcome = "deadline" if monotonic() >= self._deadline.at else "abandoned"
        self._cluster.sent(self._cluster.name, self._endpoint.address, outcome)


def _unreached(error: InferenceError) -> bool:
    return error.kind is ErrorKind.UNAVAILABLE and error.retryable
