"""One connection to Redis: every command gets its own answer within the limit, or the connection ends and is never used again.

Answers come in the order of the commands, so whose answer it is, is a matter of counting. Nothing is ever taken out of that
count: who does not want an answer any more lets it come and drops it. Bytes are parsed by hiredis, Redis's own parser.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import cast

import hiredis

from backends.promise import Promise
from gateway.store.trouble import StoreError, refused

ANSWER_SECONDS = 0.045  # with what it takes to notice, a request loses less than 50 ms
LOOK_AGAIN = 0.002  # before the limit is over: a loop that was held up must read what has come before it judges
MAX_WORDS = 1 << 20  # bytes of answers that are not whole yet
_HUGE = re.compile(rb"[*%~>][0-9]{7}")  # hiredis makes a list of that many places before the first is there
_PARTIAL = object()

Word = str | int | float | bytes
Answered = Callable[[object], None]
"""Takes the answer, or the StoreError that stands for it; called once, never raises."""


def packed(*words: Word) -> bytes:
    """The command as it is sent."""
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows tuples of one word only
    return command


class Connection(asyncio.Protocol):
    """Open once `connection_made` was called. `lost` is told once why it ended, unless `close` ended it."""

    def __init__(self, lost: Callable[[StoreError], None], seconds: float = ANSWER_SECONDS, most: int = MAX_WORDS) -> None:
        self._lost = lost
        self._most = most
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_PARTIAL)
        self._waiting: deque[tuple[float, Answered]] = deque()
        self._outgoing: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.over = False  # it has ended, and must not be used

    def send(self, command: bytes, answered: Answered) -> None:
        """Sends it together with all others of this turn of the loop."""
        if self.over:
            answered(StoreError("closed", "the connection has ended"))
            return
        self._waiting.append((self._loop.time(), answered))
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds - LOOK_AGAIN, self._look, None)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(command)

    async def ask(self, *words: Word) -> object:
        """The answer to one command. Raises StoreError."""
        promise: Promise[object] = Promise(self._loop)

        def answered(answer: object) -> None:
            if not promise.done():
                promise.set_result(answer)

        self.send(packed(*words), answered)
        answer = await promise
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def heard(self, answer: object) -> None:
        """For `send`: only a refusal matters, and ends the connection."""
        if isinstance(answer, StoreError):
            self.fail(answer)

    def fail(self, why: StoreError) -> None:
        """Ends it, for a reason; whoever waits for an answer is given that."""
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._lost(why)  # first: who is told next must not ask here again
        while self._waiting:
            self._waiting.popleft()[1](why)

    def close(self) -> None:
        """Ends it, and nobody needs to be told."""
        self._lost = _nobody
        self.fail(StoreError("closed", "the connection was ended"))

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has ended it."""
        self.fail(StoreError("closed", "it closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Hands out whatever answers are whole."""
        try:
            if _HUGE.match(data):
                raise hiredis.ProtocolError("too long")
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _PARTIAL:
                if not self._waiting:
                    self.fail(StoreError("garbled", "it answers what nobody asked"))
                if self.over:  # also by what the answer before has led to
                    return
                if isinstance(answer, hiredis.ReplyError):
                    answer = refused(str(answer))
                self._waiting.popleft()[1](answer)
            if self._reader.len() > self._most:
                raise hiredis.ProtocolError("too long")
        except (hiredis.ProtocolError, MemoryError):
            self.fail(StoreError("garbled", "its answers are not in Redis's protocol"))

    def _flush(self) -> None:
        if self._transport is not None and not self.over:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _look(self, suspect: tuple[float, Answered] | None) -> None:
        """Ends the connection for a `suspect` that is still the oldest; else looks again when the oldest may be late."""
        self._timer = None
        if not self._waiting:
            return
        oldest = self._waiting[0]
        if oldest is suspect:
            self.fail(StoreError("late", f"no answer within {self._seconds * 1000:g} ms"))
            return
        left = oldest[0] + self._seconds - LOOK_AGAIN - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look, None)
        else:
            self._timer = self._loop.call_later(LOOK_AGAIN, self._look, oldest)


def _nobody(_: StoreError) -> None:
    pass
