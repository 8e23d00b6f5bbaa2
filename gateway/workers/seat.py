"""One worker's place: starts a worker in it, notices its end, starts another; or another first, and then ends the one before.

EMPTY    -> STARTING    at once, later after a pause that grows with deaths in a row
STARTING -> SERVING     it says that it serves
STARTING -> EMPTY       it says why it cannot, or dies (the first one's reason ends the whole start)
SERVING  -> EMPTY       it has died
SERVING  -> SERVING     it is replaced: the next one serves before this one ends
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from gateway.workers.life import Life, Orders
from gateway.workers.restarts import FIRST, Restarts

START_SECONDS = 30.0  # that a worker may take until it serves, if it is to replace one that does
HUNG = 5  # looks in a row that a worker did not answer, before it is taken for hung and killed
_log = logging.getLogger(__name__)


class StartError(OSError):
    """A worker cannot start; the message is its own."""


class Seat:
    """One place, with the sockets that its workers hand on to each other. `program` is what a worker runs.

    `ended` is given the last exposition of a worker that is no more, and whether nobody asked for its end.
    """

    def __init__(
        self,
        number: int,
        sockets: Sequence[socket.socket],
        program: Callable[[socket.socket], int],
        orders: Callable[[], Orders],
        ended: Callable[[bytes, bool], None],
    ) -> None:
        self.number = number
        self.life: Life | None = None  # of who serves here, or is about to
        self.lives: list[Life] = []  # beside it, those that were replaced and have not ended yet
        self._sockets = sockets
        self._program = program
        self._orders = orders
        self._ended = ended
        self._stopping = asyncio.Event()
        self._making = asyncio.Lock()  # one worker at a time is started
        self._replaced = asyncio.Event()
        self._succeeding: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether a worker does."""
        return self.life is not None and self.life.serving

    async def keep(self, started: asyncio.Future[None]) -> None:
        """Sees to it that a worker serves, until told to stop and the last has ended. `started` is told of the first."""
        restarts = Restarts()
        while not self._stopping.is_set():
            begin = monotonic()
            async with self._making:
                if self.life is None or self.life.over.done():
                    self.life = self._born()
                refusal = await self.life.started
            if not started.done() and refusal:
                started.set_exception(StartError(refusal))
            elif not started.done():
                started.set_result(None)
            await self._emptied()
            if started.exception() or self._stopping.is_set():
                break
            pause = restarts.died(monotonic() - begin)
            reason = f"could not start: {refusal}" if refusal else "has ended without being told to"
            _log.error("worker %d %s; another starts in %g s", self.number, reason, pause)
            await self._pause(pause)
        if self.lives:
            await asyncio.wait([life.over for life in self.lives])

    async def replace(self, before: Life) -> None:
        """Starts another, and when it serves, ends the one before in order. Raises StartError, and the one before goes on."""
        async with self._making:
            if self._stopping.is_set() or self.life is not before:
                return
            life = self._born()
            await asyncio.wait((life.started,), timeout=START_SECONDS)
            if not life.serving:
                life.signal(signal.SIGKILL)
                raise StartError(life.started.result() if life.started.done() else f"not ready within {START_SECONDS:g} s")
            self.life = life
            self._replaced.set()
        before.end()
        await asyncio.wait((before.over,), timeout=self._orders().patience)
        before.signal(signal.SIGKILL)
        await asyncio.wait((before.over,))

    async def watch(self) -> None:
        """Looks, and kills a worker that has not answered for long: it would hold the connections that it still gets."""
        if self.life is not None:
            self.life.missed = 0 if await self.life.look() else self.life.missed + 1
            if self.life.missed == HUNG:
                _log.error("worker %d does not answer and is killed", self.number)
                self.life.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Lets the worker end in order; no other is started."""
        self._stopping.set()
        for life in self.lives:
            life.end()

    def kill(self) -> None:
        """Whoever is still there ends at once."""
        for life in self.lives:
            life.signal(signal.SIGKILL)

    def _born(self) -> Life:
        life = Life(self._program, self._sockets, self._orders)
        self.lives.append(life)
        life.over.add_done_callback(lambda _: self._died(life))
        return life

    def _died(self, life: Life) -> None:
        self.lives.remove(life)
        if life.served:
            self._ended(life.exposition, not life.ending)

    async def _emptied(self) -> None:
        """Returns when nobody serves here any more; replaces who was told to end by somebody else."""
        while (life := self.life) is not None and not life.over.done():
            self._replaced.clear()
            left = asyncio.create_task(life.leave.wait())
            replaced = asyncio.create_task(self._replaced.wait())
            await asyncio.wait((life.over, left, replaced), return_when=asyncio.FIRST_COMPLETED)
            replaced.cancel()
            left.cancel()
            if life.leave.is_set():
                life.leave.clear()
                self._succeeding = asyncio.create_task(self._succeed(life), name=f"successor at {self.number}")

    async def _succeed(self, life: Life) -> None:
        try:
            await self.replace(life)
        except StartError as error:
            _log.error("worker %d was told to end and goes on, because no other can start: %s", self.number, error)

    async def _pause(self, seconds: float) -> None:
        if seconds > FIRST:  # whoever connects is better off with the others than in a queue that nobody serves
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # or somebody else could bind it now
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
