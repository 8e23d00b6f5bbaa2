"""Gathers lines and has a thread write them, so that neither a slow disk nor a stopped reader can hold the event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

FLUSH_BYTES = 64 * 1024
FLUSH_SECONDS = 0.2
MAX_WAITING = 8 * 1024 * 1024  # bytes given to the writer and not written yet; beyond that lines are dropped and counted
CLOSE_SECONDS = 2.0

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where whole lines go; BinaryIO is one."""

    def write(self, piece: bytes, /) -> object:
        """Takes whole lines. Raises OSError or ValueError where it can take none any more."""
        ...

    def flush(self) -> object:
        """Lets go of what it has taken."""
        ...


def pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """The lines in pieces of at most `most` bytes, each of whole lines. No line is longer."""
    begin = 0
    while len(lines) - begin > most:
        end = lines.rindex(b"\n", begin, begin + most) + 1
        yield lines[begin:end]
        begin = end
    yield lines[begin:] if begin else lines


class Lines:
    """Lines for the thread, given to it by FLUSH_BYTES or FLUSH_SECONDS, whichever is first. `most` bytes go into one write.

    `name` is said where the sink can take no more. Belongs to one event loop.
    """

    def __init__(self, name: str, sink: Sink, clock: Callable[[], float] = time.time, most: int = MAX_WAITING) -> None:
        self._clock = clock
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._writer = _Writer(name, sink, most)

    def put(self, line: bytes) -> None:
        """Takes one line, newline included. Called on the event loop."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Gives the writer what there is; what has no room is dropped, and the next line that gets through says how many."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        if self._writer.waiting > MAX_WAITING:
            self._dropped += len(lines)
        elif lines or self._dropped:
            if self._dropped:
                lines.insert(0, _encode({"time": round(self._clock(), 3), "dropped": self._dropped}) + b"\n")
                self._dropped = 0
            self._writer.put(b"".join(lines))

    async def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Writes what is left; gives up after `patience` seconds if nobody takes it."""
        self.flush()
        await asyncio.to_thread(self._writer.close, patience)


class _Writer:
    """The thread. `waiting` is counted up on the loop and down by `written`, each by one thread alone: no lock is needed."""

    def __init__(self, name: str, sink: Sink, most: int) -> None:
        self._name = name
        self._sink = sink
        self._most = most
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._put = 0
        self._written = 0
        self._thread = threading.Thread(target=self._run, name=name.replace(" ", "-"), daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes not written yet."""
        return self._put - self._written

    def put(self, chunk: bytes) -> None:
        """Gives the thread a chunk; never waits."""
        self._put += len(chunk)
        self._chunks.put(chunk)

    def close(self, timeout: float) -> None:
        """Waits for the last chunk, `timeout` seconds at most. A daemon thread does not hold up the process's end."""
        self._chunks.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        broken = False
        while (chunk := self._chunks.get()) is not None:
            try:
                if not broken:
                    for piece in pieces(chunk, self._most):
                        self._sink.write(piece)
                        self._sink.flush()
            except (OSError, ValueError) as error:  # a closed pipe, a full disk, a closed stream
                broken = True
                _log.error("the %s cannot be written and stops here: %s", self._name, error)
            self._written += len(chunk)
