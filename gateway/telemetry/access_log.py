"""One JSON line for every request, for those who search for what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from random import random
from typing import BinaryIO

import msgspec

from gateway.telemetry.lines import MAX_WAITING, Lines
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.trace import trace_id

MAX_LINE = 4096  # bytes, newline included: what one write to a pipe keeps whole (PIPE_BUF), and log collectors take


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


_WELL = frozenset({"200", "OK"})


class AccessLog(Lines):
    """Of requests that went well only a `share` is told, taken at random; of the others all.

    Where other processes write to the same stream (`shared`), each write is whole lines of at most MAX_LINE bytes together.
    """

    def __init__(
        self, stream: BinaryIO, clock: Callable[[], float] = time.time, *, share: float = 1.0, shared: bool = False
    ) -> None:
        super().__init__("access log", stream, clock, MAX_LINE if shared else MAX_WAITING)
        self._share = share

    def write(self, record: RequestRecord) -> None:
        """Takes the record of one request. Called on the event loop."""
        if random() >= self._share and record.code in _WELL:  # random() is below 1.0: a share of 1 tells all
            return
        self.put(encode(record, self._clock()))
