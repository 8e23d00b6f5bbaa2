"""Keep-alive HTTP/1.1 connections to one endpoint: every ask gets its own answer, or an error, and never another's.

Each ask holds a place under the cap from the moment it may use a connection until it is done; an idle connection holds one,
too. So `connections` is their sum, and a place is handed on together with the connection in it, first come, first served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from backends.alarms import Alarms
from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.http1.connection import Connection, Known
from backends.http1.messages import PoolLimits, UpstreamRequest, UpstreamResponse, framed, late
from backends.names import Host
from backends.promise import Promise

__all__ = ["HttpPool", "PoolLimits", "UpstreamRequest", "UpstreamResponse"]


class HttpPool:
    """The connections to `host`:`port`. `source` is the backend's name, in errors and metrics.

    May be made without a running loop, and is used on one loop only.
    """

    def __init__(self, host: str, port: int, limits: PoolLimits, source: str) -> None:
        self._host = Host(host)
        self._port = port
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._limits = limits
        self._source = source
        self._idle: deque[Connection] = deque()  # the longest idle on the left, the next to be used on the right
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed: asyncio.Event | None = None
        self._known: Known = {}
        self._alarms = Alarms()
        self._loop: asyncio.AbstractEventLoop | None = None  # a cached_property would make all attributes three times as slow
        self.in_flight = 0  # asks that hold a place, opening a connection included

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # costs a getpid() each time on Python 3.11
        return self._loop

    @property
    def idle(self) -> int:
        """Connections waiting for an ask."""
        return len(self._idle)

    @property
    def connections(self) -> int:
        """Places taken under `max_connections`."""
        return self.in_flight + len(self._idle)

    async def ask(self, request: UpstreamRequest, deadline: Deadline, *, fresh: bool = False) -> UpstreamResponse:
        """The backend's answer, whatever its status. `fresh`: by a new connection, as an idle one was tried in vain.

        Raises InferenceError: DEADLINE (also while waiting for a place), UNAVAILABLE (no connection; another endpoint may do),
        BROKEN (no whole answer: the backend may have done the work), INVALID (the request cannot be framed).
        Leaving early, by cancellation or deadline, closes the connection, so that the backend can stop, too.
        """
        pieces = framed(request, self.authority)
        if deadline.at <= monotonic():
            raise late(self._source)
        connection = None
        if self._idle:
            connection = self._idle.pop()
            self.in_flight += 1
        elif self.in_flight < self._limits.max_connections:
            self.in_flight += 1
        else:
            connection = await self._wait(deadline)
        try:
            if fresh and connection is not None:  # a backend that was started anew has closed them all
                connection.abort()
            if connection is not None and connection.reusable:
                try:
                    return await self._send(connection, request, pieces, deadline)
                except InferenceError as error:
                    # Untouched: the backend had closed the idle connection before it saw us (RFC 9112 section 9.3.1).
                    if connection.touched or error.kind is not ErrorKind.BROKEN or not request.repeatable:
                        raise
                    error.ended()
                    self._alarms.clear(connection)
            connection = await self._connect(deadline)
            return await self._send(connection, request, pieces, deadline)
        finally:
            if connection is not None:
                self._alarms.clear(connection)
            self.leave(connection)

    def take(self) -> Connection | None:
        """An idle connection and its place, to be left by `leave`; None where there is none that can be asked at once."""
        if not self._idle or self._closed is not None:
            return None
        connection = self._idle.pop()
        self.in_flight += 1
        if connection.writable:
            return connection
        self.leave(connection)
        return None

    async def close(self) -> None:
        """Keeps no connection from now on; returns when nothing is in flight any more.

        Late asks (of a request that still runs under an older snapshot) are answered, over a connection of their own.
        """
        if self._closed is None:
            self._closed = asyncio.Event()
        while self._idle:
            self._idle.pop().abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.in_flight:
            await self._closed.wait()

    def _send(
        self, connection: Connection, request: UpstreamRequest, pieces: list[bytes | memoryview], deadline: Deadline
    ) -> Promise[UpstreamResponse]:
        """The answer to come; the alarm that ends the wait for it is the caller's to clear."""
        answer: Promise[UpstreamResponse] = Promise(self._running())
        connection.send(pieces, answer, head_only=request.method == "HEAD")
        self._alarms.set(connection, deadline.at)
        return answer

    async def _connect(self, deadline: Deadline) -> Connection:
        until = deadline.within(self._limits.connect_timeout, monotonic())
        try:
            async with asyncio.timeout_at(until.at):
                return await self._connect_to(await self._host.addresses(), until)
        except (OSError, UnicodeError) as error:  # TimeoutError and gaierror are OSErrors; UnicodeError: a name DNS cannot hold
            if isinstance(error, TimeoutError) and until.at == deadline.at:
                raise late(self._source) from None
            message = f"backend '{self._source}' could not be reached"
            raise InferenceError(ErrorKind.UNAVAILABLE, message, source=self._source, retryable=True) from error

    async def _connect_to(self, addresses: Sequence[str], until: Deadline) -> Connection:
        """A connection to the first address that gives one; each has its part of the time."""
        for left in range(len(addresses), 1, -1):
            now = monotonic()
            with suppress(OSError):  # TimeoutError, too
                async with asyncio.timeout_at(now + until.remaining(now) / left):
                    _, connection = await self._running().create_connection(self._connection, addresses[-left], self._port)
                    return connection
        _, connection = await self._running().create_connection(self._connection, addresses[-1], self._port)
        return connection

    def _connection(self) -> Connection:
        return Connection(self._limits, self._source, self._known, self._forget)

    async def _wait(self, deadline: Deadline) -> Connection | None:
        """A place that somebody left, with the connection in it if that is still sound."""
        place: asyncio.Future[Connection | None] = self._running().create_future()
        timer = self._running().call_at(deadline.at, self._expire, place)
        self._waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                self.leave(place.result())  # given to us in the moment we left
            raise
        finally:
            timer.cancel()

    def _expire(self, place: asyncio.Future[Connection | None]) -> None:
        if not place.done():
            place.set_exception(late(self._source))

    def leave(self, connection: Connection | None) -> None:
        """Gives the place on: to whoever waits longest, else to the idle connection, else to nobody."""
        if connection is not None and (self._closed is not None or not connection.reusable):
            connection.abort()
            connection = None
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(connection)
                return
        self.in_flight -= 1
        if connection is None:
            if self._closed is not None and not self.in_flight:
                self._closed.set()
        elif len(self._idle) >= self._limits.max_idle:
            connection.abort()
        else:
            connection.idle_since = monotonic()
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = self._running().call_at(connection.idle_since + self._limits.idle_lifetime, self._sweep)

    def _sweep(self) -> None:
        """Closes what has been idle for too long; one timer for all."""
        self._sweeper = None
        while self._idle:
            ends = self._idle[0].idle_since + self._limits.idle_lifetime
            if ends > monotonic():
                self._sweeper = self._running().call_at(ends, self._sweep)
                return
            self._idle.popleft().abort()

    def _forget(self, connection: Connection) -> None:
        """An idle connection ended; one that is just being handed over is in no list."""
        with suppress(ValueError):
            self._idle.remove(connection)
