"""Keeps one connection to Redis open in the background, so that no request ever waits for connecting.

A breaker stands before it: closed while there is a connection whose every answer comes in time; open from the first failure on,
when whoever would ask goes on without; half-open while the background tries to get in again, which is the one probe.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from backends.breaker import Breaker, Event, State
from backends.names import Host
from backends.rules import Ejection
from gateway.aside import Aside
from gateway.store.address import Address
from gateway.store.connection import ANSWER_SECONDS, MAX_WORDS, Connection
from gateway.store.login import Login
from gateway.store.trouble import StoreError, unreachable

CONNECT_SECONDS = 0.5  # for a name, TCP and TLS together; nobody waits for it, and a packet is lost at times
PAUSE = 0.25  # between tries, and up to as much again by chance: replicas do not come all at once
SAY_AGAIN = 60.0

_log = logging.getLogger(__name__)

Greet = Callable[[Connection], Awaitable[None]]
"""Does what each new connection needs before anybody asks over it. Raises StoreError."""


class Link:
    """The way to the store at `address`, for one use of it. Who uses it adds what it does first to `greets`.

    `alone` says for the log what goes on while it is away; `most` is how many bytes one answer may have.
    """

    def __init__(
        self,
        address: Address,
        login: Login,
        seconds: float = ANSWER_SECONDS,
        alone: str = "each gateway decides alone",
        most: int = 0,
    ) -> None:
        self.greets: list[Greet] = []
        self.breaker = Breaker(Ejection(failures=1, open=PAUSE))
        self.connection: Connection | None = None  # while the breaker is closed
        self._address = address
        self._login = login
        self._seconds = seconds
        self._alone = alone
        self.most = most
        self._host = Host(address.host)
        self._beside = Aside("store")
        self._lost = asyncio.Event()
        self._said: dict[str, float] = {}
        self._told: set[str] = set()  # since it is away
        self.breaker.ended(Event.FAILED, False, float("-inf"))  # nothing is open yet

    @property
    def up(self) -> bool:
        """Whether the store may be asked."""
        return self.breaker.state is State.CLOSED

    async def keep(self) -> None:
        """Tries, and tries again whenever the connection ends; until cancelled."""
        while True:
            if not await self.attempt():
                await asyncio.sleep(PAUSE * (1 + random.random()))
                continue
            await self._lost.wait()
            await asyncio.sleep(PAUSE * random.random())

    async def attempt(self) -> bool:
        """Tries once, for little more than CONNECT_SECONDS; whether the store may be asked now."""
        if self.up:
            return True
        self.breaker.enter(monotonic())
        event = Event.ABANDONED
        try:
            self.connection = await self._greeted()
            event = Event.OK
        except StoreError as error:
            event = Event.FAILED
            self._tell(error)
        finally:
            self.breaker.ended(event, True, monotonic())
        if event is Event.OK:
            self._lost.clear()
            self._tell_of_return()
        return self.up

    async def again(self) -> None:
        """Puts a new connection in the place of this one, which is used until then: who answers at the address may be another."""
        before = self.connection
        with suppress(StoreError):  # then this one stays
            connection = await self._greeted()
            if before is None or self.connection is not before:
                connection.close()  # it was lost meanwhile, and is seen to
                return
            self.connection = connection
            asyncio.get_running_loop().call_later(self._seconds, before.close)  # when it has answered, or never does

    def close(self) -> None:
        """Ends the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self._beside.close()

    def _ended(self, connection: Connection, error: StoreError) -> None:
        """The connection is no more; of one that is not in use yet, the attempt tells why."""
        if self.connection is not connection:
            return
        self.connection = None
        self.breaker.ended(Event.FAILED, False, monotonic())
        self._tell(error)
        self._lost.set()

    async def _greeted(self) -> Connection:
        """A connection that may be asked. Raises StoreError."""
        connection = await self._open()
        try:
            for greet in self.greets:
                await greet(connection)
            if connection.over:
                raise StoreError("closed", "it closed the connection")
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open(self) -> Connection:
        """A connection that Redis lets speak. Raises StoreError."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                password = await self._beside(self._login.password)
                connection = await self._connect()
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError, ssl.SSLError too
            raise unreachable(error) from error
        try:
            if password:
                await connection.ask("AUTH", *((self._address.user,) if self._address.user else ()), password)
            if self._address.database:
                await connection.ask("SELECT", self._address.database)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()

        def made() -> Connection:
            connection = Connection(lambda error: self._ended(connection, error), self._seconds, self.most + MAX_WORDS)
            return connection

        if self._address.path:
            return (await loop.create_unix_connection(made, self._address.path))[1]
        certificates = await self._beside(self._login.certificates) if self._address.tls else None
        name = self._address.host if certificates is not None else None
        failure = OSError("no address")
        for host in await self._host.addresses():  # beginning with another one each time
            try:
                return (await loop.create_connection(made, host, self._address.port, ssl=certificates, server_hostname=name))[1]
            except OSError as error:
                failure = error
        raise failure

    def _tell(self, error: StoreError) -> None:
        """Each trouble once while it is away, and at most once in SAY_AGAIN if it comes and goes."""
        now = monotonic()
        if error.reason not in self._told and now - self._said.get(error.reason, float("-inf")) >= SAY_AGAIN:
            self._said[error.reason] = now
            self._told.add(error.reason)
            _log.warning("store %s: until it answers, %s: %s", self._address, self._alone, error)

    def _tell_of_return(self) -> None:
        if self._told:
            _log.warning("store %s answers", self._address)
        self._told.clear()
