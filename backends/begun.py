"""A question's first attempt, sent at once where nobody need wait for a place: no coroutine is made for it until one is needed.

    held --sent--> begun
    held --not sent after all--> released
    begun --its answer, or an error, or it takes long--> told, once
    told --the answer is as expected--> finished: counted as an attempt that was answered
    told --anything else--> taken over: Cluster.infer goes on with it as if it had sent it itself
    begun, told --nobody waits any more--> abandoned

Whoever begins one ends it in exactly one of these ways: until then it holds a place, a connection and a count of in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from backends.admission import Lane
from backends.attempt import Attempt, answered
from backends.deadline import Deadline
from backends.endpoint import PLAIN, Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.http1.connection import Connection
from backends.http1.messages import UpstreamResponse
from backends.inference import InferenceRequest, InferenceResponse, Payload
from backends.places import ANSWERED, GIVEN_UP
from backends.promise import Promise
from backends.second import LOOK
from backends.triton_http import Form, TritonHttp

if TYPE_CHECKING:
    from backends.cluster import Cluster

Told = Callable[[], None]


Place = tuple[Lane, int, float]
"""Of a lane; taken as the last of so many, and when, in seconds. A named one takes 0.5 µs to make, this one nothing."""


class Begun(msgspec.Struct, eq=False):
    """It has its place, a connection to the endpoint and a count of in flight there from the beginning, until it ends.

    `answer`: a whole one, whatever its status. When it is `told` there may be none: an error, or it takes long.
    Is what the connection tells its answer to, in the place of a Promise. A struct, which is made in half the time of an object.
    """

    cluster: Cluster
    place: Place
    deadline: Deadline
    _endpoint: Endpoint
    _backend: TritonHttp
    _connection: Connection | None  # None: it has ended
    _form: Form
    _told: Told | None
    answer: UpstreamResponse | None = None
    _error: BaseException | None = None
    _promise: Promise[UpstreamResponse] | None = None
    _question: Payload | None = None

    def send(self, id: bytes, tensors: bytes | memoryview) -> None:
        """Asks, under that request id."""
        assert self._connection is not None, "it has not ended"
        began = self.place[2]
        look, half = began + LOOK, (began + self.deadline.at) / 2
        self.cluster.alarms.set(self, look if look < half else half)  # min() costs 0.1 µs
        self._backend.send(self._form, self._connection, id, tensors, self)

    def release(self) -> None:
        """Is not sent, and has not been."""
        self._let_go()
        self._endpoint.in_flight -= 1
        self.cluster.places.back(self.place[0])
        self.cluster.unpick()

    def about(self, request: InferenceRequest) -> InferenceRequest:
        """The request that it asks, as Cluster.infer is to have it to go on."""
        self._question = request.payload
        return replace(request, begun=self)

    def asks(self, request: InferenceRequest) -> bool:
        """Whether it asks just this, and nobody has gone on with it; who changes a question gives it another payload."""
        key = self._form.key
        return not self.ended and request.payload is self._question and key == (request.model, request.version)

    @property
    def ended(self) -> bool:
        """Whether it holds nothing any more."""
        return self._connection is None

    # What the connection wants of its promise

    def done(self) -> bool:
        """Whether it has been kept or broken."""
        return self.answer is not None or self._error is not None

    def set_result(self, answer: UpstreamResponse) -> None:
        """Keeps it."""
        self.answer = answer
        if self._promise is not None:
            self._promise.set_result(answer)
        elif (told := self._told) is not None:
            self._told = None
            told()

    def set_exception(self, error: BaseException) -> None:
        """Breaks it."""
        self._error = error
        if self._promise is not None:
            self._promise.set_exception(error)
        else:
            self.expire()

    def expire(self) -> None:
        """It takes long, or is done."""
        told, self._told = self._told, None
        if told is not None:
            told()

    # Its endings

    def finish(self) -> float:
        """Its answer is as good as any. Seconds that it took."""
        cluster, (lane, beside, began) = self.cluster, self.place
        self._let_go()
        self._endpoint.in_flight -= 1
        answered(cluster, self._endpoint, self._form.key, PLAIN)
        return cluster.places.leave(lane, beside, began, ANSWERED, self.deadline)

    def abandon(self) -> float:
        """Nobody waits for it any more. Seconds that it took."""
        self._let_go()
        attempt = Attempt(self.cluster, self._endpoint, PLAIN, self._form.request, self.deadline)
        attempt.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
        lane, beside, began = self.place
        return self.cluster.places.leave(lane, beside, began, GIVEN_UP, self.deadline)

    def attempt(self, request: InferenceRequest, deadline: Deadline) -> Attempt:
        """It as an attempt at the request, which begins anew and whose answer is `response`; the place goes with it."""
        self._endpoint.in_flight -= 1
        attempt = Attempt(self.cluster, self._endpoint, PLAIN, request, deadline)
        attempt.began = self.place[2]
        return attempt

    async def response(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """As the backend's `infer`."""
        connection = self._connection
        assert connection is not None, "it has not ended"
        try:
            answer = await self._waited(connection, deadline)
        except InferenceError as error:
            # Untouched: as in the pool's own `ask`.
            if connection.touched or error.kind is not ErrorKind.BROKEN or not request.repeatable:
                raise
            error.ended()
        else:
            return self._backend.read(answer, request, deadline)
        finally:
            self._let_go()
        return await self._backend.infer(request, deadline, fresh=True)

    async def _waited(self, connection: Connection, deadline: Deadline) -> UpstreamResponse:
        if self.answer is not None:
            return self.answer
        if self._error is not None:
            raise self._error
        self._promise = promise = Promise[UpstreamResponse](asyncio.get_running_loop())
        self.cluster.alarms.set(connection, deadline.at)
        try:
            return await promise
        finally:
            self.cluster.alarms.clear(connection)

    def _let_go(self) -> None:
        """It is not told any more; a connection that still owes an answer is closed."""
        connection, self._connection, self._told = self._connection, None, None
        assert connection is not None, "it ends once"
        self.cluster.alarms.clear(self)
        self._backend.leave(connection)
