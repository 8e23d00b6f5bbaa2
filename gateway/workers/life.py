"""The parent's view of one worker process, from its fork to its end: what it is asked, told and sent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.workers import channel
from gateway.workers.channel import Questions
from gateway.workers.fork import Forked, fork

ANSWER_SECONDS = 1.0  # seconds that a worker may take to tell its metrics, or who an operator is
UNTOLD = "a worker ended while it started; its log says why"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is to do: its policy, and what operators have drained, as JSON. `patience`: seconds its end may take.

    `fetched` takes each key set that it tells of.
    """

    policy: bytes
    drained: bytes
    patience: float
    fetched: Callable[[bytes], None] = lambda _: None
    rollouts: bytes = b""  # how they stand, as msgpack; nothing where there are none
    audits: bytes = b""  # as of rollouts


Program = Callable[[socket.socket], int]


class Life:
    """One worker. `serving` from when it says so to its end; `exposition` is the last it told, and `missed` how often it did not.

    `started` is kept with "" then, or with why it cannot serve; `over` is its whole life.
    """

    def __init__(self, program: Program, kept: Sequence[socket.socket], orders: Callable[[], Orders]) -> None:
        """Starts it: `program`, with these sockets. Of `orders` those count that hold when it comes to know them."""
        self.serving = False
        self.served = False
        self.ending = False  # the parent wants it to
        self.exposition = b""
        self.missed = 0
        self.leave = asyncio.Event()  # somebody else wants it to
        self.started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pid = 0  # while it lives
        self._questions: Questions | None = None
        self._asked: asyncio.Future[bytes] | None = None
        self.over = asyncio.create_task(self._live(program, kept, orders), name="worker")

    async def look(self) -> bool:
        """Has the worker's metrics again; False if it does not tell them within ANSWER_SECONDS."""
        if self._questions is None or not self.serving:
            return True
        asked = self._asked = self._asked or self._questions.ask(channel.METRICS)  # never two at once
        await asyncio.wait((asked,), timeout=ANSWER_SECONDS)
        if asked.done() and asked is self._asked:  # else another look has taken it
            self._asked = None
            if asked.exception() is None:
                self.exposition = asked.result()
        return asked.done()

    async def take(self, policy: bytes) -> str:
        """Gives the worker a policy; the version it has in force then, "" where none serves."""
        return (await self._ask(channel.POLICY, policy)).decode()

    async def tell(self, kind: bytes, content: bytes = b"") -> bytes:
        """Its answer, "" if it has none within ANSWER_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(kind, content)
        return b""

    async def read_keys(self) -> None:
        """Has the worker read the key files again."""
        await self._ask(channel.KEYS)

    def end(self) -> None:
        """Lets the worker end in order, as soon as it has started."""
        if not self.ending and self._questions is not None:
            self._questions.ask(channel.END)
        self.ending = True

    def signal(self, number: signal.Signals) -> None:
        """Sends the worker a signal, if it lives."""
        if self._pid:
            os.kill(self._pid, number)  # a child that was not waited for yet: the number is still its own

    async def _ask(self, kind: bytes, content: bytes = b"") -> bytes:
        if self._questions is not None:
            with suppress(ConnectionError):
                return await self._questions.ask(kind, content)
        return b""

    async def _live(self, program: Program, kept: Sequence[socket.socket], orders: Callable[[], Orders]) -> None:
        given = orders().policy
        try:
            child = await _forked(program, kept)
        except OSError as error:
            self.started.set_result(str(error))
            return
        self._pid = child.pid
        reader, writer = await asyncio.open_unix_connection(sock=child.line)
        questions = self._questions = Questions(reader, writer, orders().fetched)
        self.leave = questions.leave
        listening = asyncio.create_task(questions.listen(), name="worker's line")
        if (now := orders()).policy is not given:  # a reload that came before there was somebody to tell of it
            questions.ask(channel.POLICY, now.policy)
        questions.ask(channel.HOLD, now.drained)
        if now.rollouts:
            questions.ask(channel.ROLLOUTS, now.rollouts)
        if now.audits:
            questions.ask(channel.AUDITS, now.audits)
        refusal = UNTOLD
        with suppress(ConnectionError):
            started = questions.ask(channel.START)
            if self.ending:
                questions.ask(channel.END)
            refusal = (await started).decode()
        self.serving = self.served = not refusal
        self.started.set_result(refusal)
        if refusal:
            writer.close()
        await _over(child)
        self._pid = 0  # at once: the number may be another process's from now on
        await listening
        self.exposition = questions.last or self.exposition
        self._questions, self.serving = None, False


async def _forked(program: Program, kept: Sequence[socket.socket]) -> Forked:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Forked] = loop.create_future()

    def make() -> None:
        try:
            made.set_result(fork(program, kept))
        except OSError as error:
            made.set_exception(error)

    loop.call_soon(make)
    return await made


async def _over(child: Forked) -> None:
    """Returns when the process has ended; takes its status, so that nothing of it is left."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(child.ended, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(child.ended)
        _take_status(child)


def _take_status(child: Forked) -> None:
    os.close(child.ended)
    os.waitpid(child.pid, os.WNOHANG)  # it has ended: there is nothing to wait for
