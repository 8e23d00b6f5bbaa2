"""The access log: one honest JSON line a request, whatever the client sent and however slow the reader is."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.access_log import MAX_LINE, AccessLog, encode
from gateway.telemetry.record import RequestRecord

NOW = 1_700_000_000.1234
Finished = Callable[..., RequestRecord]


class Gated(io.BytesIO):
    """A stream whose reader can stop, and that says when somebody writes."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.reached = threading.Event()

    def write(self, chunk: Any) -> int:
        self.reached.set()
        self.open.wait(10)
        return super().write(chunk)


class Broken(io.BytesIO):
    """A stream whose reader has gone."""

    tries = 0

    def write(self, chunk: Any) -> int:
        self.tries += 1
        raise BrokenPipeError("gone")


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    """What stands in the stream."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def utf16(text: str) -> bytes:
    """The text's code units, lone surrogates included."""
    return text.encode("utf-16", "surrogatepass")


def test_line_says_who_asked_what_and_what_became_of_it(finished: Finished) -> None:
    """Everything an operator searches for, in milliseconds and wall time; what is empty is left out."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    shares = (("fast", 29), ("accurate", 3))
    record = finished(variant="fast,accurate", shares=shares, escalation="fast→accurate", cost=152.0, traceparent=parent)
    expected = {
        "time": 1700000000.123,
        "request_id": "r-1",
        "method": "POST",
        "path": "/v2/models/digits/infer",
        "code": "200",
        "ms": 4.0,
        "gateway_ms": 0.3,
        "backend_ms": 3.7,
        "bytes_in": 9000,
        "bytes_out": 1700,
        "peer": "127.0.0.1:50122",
        "subject": "svc-a",
        "tenant": "acme",
        "model": "digits",
        "route": "default",
        "variant": "fast=29,accurate=3",
        "rows": 32,
        "cost": 152.0,
        "escalation": "fast→accurate",
        "policy": "3f2a9c10",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    assert expected == json.loads(encode(record, NOW))


def test_invalid_trace_is_left_out(finished: Finished) -> None:
    """A traceparent is the client's word; only a valid trace id is repeated."""
    assert "trace" not in json.loads(encode(finished(traceparent="00-secret"), NOW))


@given(path=st.text(), subject=st.text(max_size=5000), request_id=st.text(st.characters(categories=["Cs", "Cc", "So"])))
def test_every_line_is_one_ascii_line_of_bounded_size(finished: Finished, path: str, subject: str, request_id: str) -> None:
    """No text of a client can add a line, hide in an escape sequence, or make a line longer than one whole write."""
    line = encode(finished(path=path * 50, subject=subject, request_id=request_id), NOW)
    assert len(line) <= MAX_LINE
    assert (b"\n", 1) == (line[-1:], line.count(b"\n"))
    assert line.isascii()
    found = json.loads(line)
    if not found.get("cut", False):
        assert subject == found.get("subject", "")
        assert utf16(request_id) == utf16(found.get("request_id", ""))  # JSON joins two surrogates that make a pair


async def test_lines_wait_for_the_timer_and_then_go_together(finished: Finished) -> None:
    """Nothing is written at once; what came meanwhile goes in one write."""
    stream = Gated()
    log = AccessLog(stream, lambda: NOW)
    log.write(finished(request_id="a"))
    log.write(finished(request_id="b"))
    assert not stream.reached.is_set()
    stream.open.set()
    assert await asyncio.to_thread(stream.reached.wait, 5)
    await log.close()
    assert ["a", "b"] == [line["request_id"] for line in lines(stream)]


@pytest.mark.parametrize(("share", "told"), [(0.0, 0), (1.0, 1000)])
async def test_only_a_share_of_what_went_well_is_told(finished: Finished, share: float, told: int) -> None:
    """Answers may be left out, in HTTP's words and in gRPC's; what went wrong never is."""
    stream = Gated()
    stream.open.set()
    log = AccessLog(stream, lambda: NOW, share=share)
    for code in ("200", "OK"):
        for _ in range(500):
            log.write(finished(code=code))
    for code in ("499", "503", "UNAVAILABLE"):
        log.write(finished(code=code))
    await log.close()
    codes = [line["code"] for line in lines(stream)]
    assert (told, ["499", "503", "UNAVAILABLE"]) == (len(codes) - 3, codes[-3:])


async def test_the_share_is_kept_about(finished: Finished) -> None:
    """A tenth of 4 000 lines is 400, within six standard deviations."""
    stream = Gated()
    stream.open.set()
    log = AccessLog(stream, lambda: NOW, share=0.1)
    for _ in range(4000):
        log.write(finished(code="200"))
    await log.close()
    assert 286 < len(list(lines(stream))) < 514


async def test_close_writes_what_is_left(finished: Finished) -> None:
    """The last requests before the end are in the log."""
    stream = io.BytesIO()
    log = AccessLog(stream, lambda: NOW)
    log.write(finished())
    await log.close()
    assert 1 == len(lines(stream))


async def test_reader_that_left_ends_the_log_and_nothing_else(finished: Finished, caplog: pytest.LogCaptureFixture) -> None:
    """A broken pipe is said once; requests go on."""
    stream = Broken()
    log = AccessLog(stream, lambda: NOW)
    for _ in range(3):
        log.write(finished())
        log.flush()
    await log.close()
    assert 1 == stream.tries
    assert ["the access log cannot be written and stops here: gone"] == [record.getMessage() for record in caplog.records]


def test_line_costs_microseconds(finished: Finished) -> None:
    """Measured at 2 µs; the bound allows for a busy machine."""
    record = finished()
    assert min(timeit.repeat(lambda: encode(record, NOW), number=1000, repeat=20)) / 1000 < 12e-6
