"""The parent's view of one worker's place: starts a worker in it, notices its end, starts another.

STARTING -> SERVING     it says that it serves
STARTING -> EMPTY       it says why it cannot, or dies (the first one's reason ends the whole start)
SERVING  -> EMPTY       it has died
EMPTY    -> STARTING    after a pause that grows with deaths in a row
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from gateway.workers import channel
from gateway.workers.channel import Questions
from gateway.workers.fork import Forked, fork
from gateway.workers.restarts import Restarts

ANSWER_SECONDS = 1.0  # seconds that a worker may take to tell its metrics, or who an operator is
HUNG = 10  # looks in a row that a worker did not answer, before it is taken for hung and killed
_log = logging.getLogger(__name__)


class StartError(OSError):
    """A worker cannot start; the message is its own."""


class Seat:
    """One place. `program` is what a worker runs, beginning with the `policy` there is.

    `ended` is given the last exposition of a worker that is no more, and whether nobody asked for its end.
    """

    def __init__(
        self,
        number: int,
        program: Callable[[socket.socket], int],
        policy: Callable[[], bytes],
        ended: Callable[[bytes, bool], None],
    ) -> None:
        self.number = number
        self.serving = False
        self.exposition = b""  # the last it told
        self._program = program
        self._policy = policy
        self._ended = ended
        self._stopping = asyncio.Event()
        self._pid = 0  # of the worker, while it lives
        self._questions: Questions | None = None
        self._asked: asyncio.Future[bytes] | None = None
        self._missed = 0

    async def keep(self, started: asyncio.Future[None]) -> None:
        """Sees to it that a worker serves, until told to stop and the last has ended. `started` is told of the first."""
        restarts = Restarts()
        while not self._stopping.is_set():
            begin = monotonic()
            refusal = await self._live(started)
            if not started.done():
                started.set_exception(StartError(refusal or "a worker ended while it started; its log says why"))
            if started.exception() or self._stopping.is_set():
                return
            pause = restarts.died(monotonic() - begin)
            reason = f"could not start: {refusal}" if refusal else "has ended without being told to"
            _log.error("worker %d %s; another starts in %g s", self.number, reason, pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

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

    async def watch(self) -> None:
        """Looks, and kills a worker that has not answered for long: it would hold the connections that it still gets."""
        self._missed = 0 if await self.look() else self._missed + 1
        if self._missed == HUNG:
            _log.error("worker %d does not answer and is killed", self.number)
            self.signal(signal.SIGKILL)

    async def take(self, policy: bytes) -> str:
        """Gives the worker a policy; the version it has in force then, "" where none serves."""
        if self._questions is None:
            return ""
        try:
            return (await self._questions.ask(channel.POLICY, policy)).decode()
        except ConnectionError:
            return ""

    async def read_keys(self) -> None:
        """Has the worker read the key files again, if there is one."""
        if self._questions is not None:
            with suppress(ConnectionError):
                await self._questions.ask(channel.KEYS)

    async def judge(self, credentials: bytes) -> bytes:
        """The worker's clearance on an operator's credentials, "" if it has none within ANSWER_SECONDS."""
        if self._questions is not None and self.serving:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._questions.ask(channel.OPERATOR, credentials)
        return b""

    def stop(self) -> None:
        """Lets the worker end in order; no other is started."""
        self._stopping.set()
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Sends the worker a signal, if there is one."""
        if self._pid:
            os.kill(self._pid, number)  # a child that was not waited for yet: the number is still its own

    async def _live(self, started: asyncio.Future[None]) -> str:
        """One worker's life; returns why it could not start, "" if it could or did not say."""
        given = self._policy()
        child = await _forked(self._program)
        self._pid = child.pid
        if self._stopping.is_set():
            self.signal(signal.SIGTERM)
        reader, writer = await asyncio.open_unix_connection(sock=child.line)
        questions = self._questions = Questions(reader, writer)
        listening = asyncio.create_task(questions.listen(), name=f"worker {self.number}")
        refusal = ""
        try:
            if self._policy() is not given:  # a reload that came before there was somebody to tell of it
                questions.ask(channel.POLICY, self._policy())
            refusal = (await questions.ask(channel.START)).decode()
        except ConnectionError:
            pass
        else:
            self.serving = not refusal
            if self.serving and not started.done():
                started.set_result(None)
        if refusal:
            writer.close()
        await _over(child)
        self._pid = 0  # at once: the number may be another process's from now on
        await listening
        self._questions, self._asked, self._missed = None, None, 0
        if self.serving:
            self._ended(questions.last or self.exposition, not self._stopping.is_set())
        self.serving, self.exposition = False, b""
        return refusal


async def _forked(program: Callable[[socket.socket], int]) -> Forked:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Forked] = loop.create_future()

    def make() -> None:
        try:
            made.set_result(fork(program))
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
