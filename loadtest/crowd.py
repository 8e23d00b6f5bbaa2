"""Clients that ask at moments fixed in advance and wait no longer than their patience: what each of them was told, and when."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, cast

import httptools

from loadtest.pacing import NANOSECONDS, Alarm, schedule

SWEEP = 0.005  # seconds between looks for those whose patience is over
BURST = 0.05  # seconds that a burst lasts, and the pause after it
GAVE_UP, LOST = 0, -1  # in place of a status: nothing came in time; the connection ended


class Told(NamedTuple):
    """One question: the nanosecond it was due at, the status of its answer and the seconds since it was due."""

    due: int
    status: int
    seconds: float


def arrivals(kind: str, rate: float, seconds: float, seed: int) -> list[int]:
    """Nanoseconds from the start. `smooth`: a Poisson process; `bursty`: one of twice the rate, half of the time; `even`."""
    if kind == "bursty":
        chance, found, moment = random.Random(seed), [], 0.0
        while (moment := moment + chance.expovariate(2 * rate)) < seconds:
            if int(moment / BURST) % 2 == 0:
                found.append(round(moment * NANOSECONDS))
        return found
    return schedule(rate, seconds, seed, kind == "even")


class Connection(asyncio.Protocol):
    """One connection with at most one question on it; `due` is that question's moment."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self.due: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits to be given a question."""
        self._transport = cast(asyncio.Transport, transport)

    def send(self, due: int) -> None:
        """Asks."""
        self.due = due
        self._transport.write(self._crowd.request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The answer is whole (httptools calls this)."""
        status, keep = self._parser.get_status_code(), self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        self.end(status)
        if keep and not self._transport.is_closing():
            self._crowd.idle.append(self)
        else:
            self._transport.close()

    def connection_lost(self, reason: Exception | None) -> None:
        """What was asked on it is lost."""
        if self in self._crowd.idle:
            self._crowd.idle.remove(self)
        self.end(LOST)

    def end(self, status: int) -> None:
        """Tells how the question ended, if there is one."""
        if self.due is not None:
            due, self.due = self.due, None
            self._crowd.ended(due, status)

    def give_up(self) -> None:
        """As a client that has waited long enough: hangs up."""
        self.end(GAVE_UP)
        self._transport.abort()


class Crowd:
    """One crowd before one port of 127.0.0.1. `idle` connections are used again, the latest first; others are made as needed."""

    def __init__(self, port: int, request: bytes, patience: float) -> None:
        self.request = request
        self.idle: list[Connection] = []
        self.told: list[Told] = []
        self.late: list[float] = []  # seconds after a question's moment that it was turned to
        self._port = port
        self._patience = round(patience * NANOSECONDS)
        self._asked: deque[tuple[int, Connection]] = deque()
        self._dialling: set[asyncio.Task[None]] = set()
        self._moments: Sequence[int] = ()
        self._start = self._next = 0
        self._over = asyncio.Event()

    async def run(self, moments: Sequence[int]) -> list[Told]:
        """Asks all of them; returns when each has been told something or has given up. `due` counts from the start."""
        self._moments = moments
        alarm = Alarm(asyncio.get_running_loop(), lambda: self._send_due(alarm))
        self._start = time.monotonic_ns() + NANOSECONDS // 50
        alarm.set(self._start)
        while not self._over.is_set():
            await asyncio.sleep(SWEEP)
            self._sweep(time.monotonic_ns() - self._start)
        alarm.close()
        for connection in self.idle[:]:
            connection.give_up()
        return self.told

    def ended(self, due: int, status: int) -> None:
        """One question has ended."""
        self.told.append(Told(due, status, (time.monotonic_ns() - self._start - due) / NANOSECONDS))
        if len(self.told) == len(self._moments):
            self._over.set()

    def _send_due(self, alarm: Alarm) -> None:
        now = time.monotonic_ns() - self._start
        while self._next < len(self._moments) and (due := self._moments[self._next]) <= now:
            self._next += 1
            self.late.append((now - due) / NANOSECONDS)
            if self.idle:
                self._send(self.idle.pop(), due)
            else:
                task = asyncio.get_running_loop().create_task(self._dial(due))
                self._dialling.add(task)
                task.add_done_callback(self._dialling.discard)
        if self._next < len(self._moments):
            alarm.set(self._start + self._moments[self._next])

    def _send(self, connection: Connection, due: int) -> None:
        self._asked.append((due, connection))
        connection.send(due)

    async def _dial(self, due: int) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        except OSError:
            self.ended(due, LOST)
        else:
            self._send(connection, due)

    def _sweep(self, now: int) -> None:
        while self._asked and self._asked[0][0] + self._patience <= now:
            due, connection = self._asked.popleft()
            if connection.due == due:
                connection.give_up()
