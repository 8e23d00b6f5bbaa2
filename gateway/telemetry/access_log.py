"""One JSON line for every request, written so that neither a slow disk nor a stopped reader can hold the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from random import random
from typing import BinaryIO

import msgspec

from gateway.telemetry.record import RequestRecord
from gateway.telemetry.trace import trace_id

MAX_LINE = 4096  # bytes, newline included: what one write to a pipe keeps whole (PIPE_BUF), and log collectors take
FLUSH_BYTES = 64 * 1024
FLUSH_SECONDS = 0.2
MAX_WAITING = 8 * 1024 * 1024  # bytes given to the writer and not written yet; beyond that lines are dropped and counted
CLOSE_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a line says. Times in milliseconds, `time` in seconds of the epoch; never a credential, a query or a tensor."""

    time: float
    request_id: str
    method: str
    path: str
    code: str
    ms: float
    gateway_ms: float
    backend_ms: float
    peer: str
    bytes_in: int = 0
    bytes_out: int = 0  # absent over gRPC, whose answer is written after its record
    subject: str = ""
    tenant: str = ""
    model: str = ""
    route: str = ""
    variant: str = ""
    rows: int = 0
    cost: float = 0.0
    escalation: str = ""
    policy: str = ""
    reason: str = ""
    trace: str = ""
    cut: bool = False  # some of the strings were too long and are given in part


_encode = msgspec.json.Encoder().encode
_ARROW, _ESCAPED_ARROW = "→".encode(), b"\\u2192"  # of `escalation`: the one character of our own that is not ASCII


def encode(record: RequestRecord, now: float) -> bytes:
    """The record as one line of at most MAX_LINE bytes of ASCII, newline included. `now` is wall time, in seconds."""
    line = Line(
        round(now, 3),
        record.request_id,
        record.method,
        record.path,
        record.code,
        round(record.seconds * 1e3, 3),
        round(record.overhead_seconds * 1e3, 3),
        round(record.backend_seconds * 1e3, 3),
        record.peer,
        record.bytes_in,
        record.bytes_out,
        record.subject,
        record.tenant,
        record.model,
        record.route,
        _variant(record),
        record.rows,
        record.cost,
        record.escalation,
        record.policy,
        record.reason,
        trace_id(record.traceparent) if record.traceparent else "",
    )
    try:
        encoded = _encode(line).replace(_ARROW, _ESCAPED_ARROW) + b"\n"
        if len(encoded) <= MAX_LINE and encoded.isascii():
            return encoded
    except UnicodeEncodeError:  # lone surrogates, from bytes that are not UTF-8
        pass
    return _careful(msgspec.structs.asdict(line))


def _variant(record: RequestRecord) -> str:
    if len(record.shares) < 2:
        return record.variant
    return ",".join(f"{variant}={rows}" for variant, rows in record.shares)


def _careful(fields: dict[str, object]) -> bytes:
    """Escapes all that is not ASCII, so that no terminal or collector obeys it, and shortens strings until the line fits."""
    longest = 1024
    told = {name: value for name, value in fields.items() if value not in ("", False)}
    while len(encoded := json.dumps(told, separators=(",", ":")).encode() + b"\n") > MAX_LINE:
        told = {name: value[:longest] if isinstance(value, str) else value for name, value in told.items()}
        told["cut"] = True
        longest //= 2
    return encoded


def pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """The lines in pieces of at most `most` bytes, each of whole lines. No line is longer."""
    begin = 0
    while len(lines) - begin > most:
        end = lines.rindex(b"\n", begin, begin + most) + 1
        yield lines[begin:end]
        begin = end
    yield lines[begin:] if begin else lines


_WELL = frozenset({"200", "OK"})


class AccessLog:
    """Gathers lines and gives them to a thread of its own, by FLUSH_BYTES or FLUSH_SECONDS, whichever is first.

    Of requests that went well only a `share` is told, taken at random; of the others all. Where other processes write to the
    same stream (`shared`), each write is whole lines of at most MAX_LINE bytes together.
    """

    def __init__(
        self, stream: BinaryIO, clock: Callable[[], float] = time.time, *, share: float = 1.0, shared: bool = False
    ) -> None:
        self._clock = clock
        self._share = share
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._writer = _Writer(stream, MAX_LINE if shared else MAX_WAITING)

    def write(self, record: RequestRecord) -> None:
        """Takes the record of one request. Called on the event loop."""
        if self._share < 1.0 and record.code in _WELL and random() >= self._share:
            return
        line = encode(record, self._clock())
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

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._put = 0
        self._written = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
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
                        self._stream.write(piece)
                        self._stream.flush()
            except (OSError, ValueError) as error:  # a closed pipe, a full disk, a closed stream
                broken = True
                _log.error("the access log cannot be written and stops here: %s", error)
            self._written += len(chunk)
