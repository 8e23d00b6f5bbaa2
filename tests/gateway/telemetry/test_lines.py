"""Lines for a thread: in order, whole, and never at the cost of whoever gives them."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.lines import FLUSH_BYTES, MAX_WAITING, Lines, pieces


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


def told(stream: io.BytesIO) -> list[dict[str, Any]]:
    """What stands in the stream."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_full_buffer_does_not_wait_for_the_timer() -> None:
    """At 64 KiB the lines go at once, in order, and none is lost."""
    stream = Gated()
    stream.open.set()
    lines = Lines("test log", stream)
    count = FLUSH_BYTES // 100 + 1
    for number in range(count):
        lines.put(json.dumps({"n": number}).encode().ljust(99) + b"\n")
    assert stream.reached.wait(5)  # the event loop has not run since: no timer did this
    await lines.close()
    assert list(range(count)) == [line["n"] for line in told(stream)]


async def test_stopped_reader_costs_lines_not_latency() -> None:
    """While nobody reads, writing never waits; beyond 8 MiB lines are dropped, and afterwards a line says how many."""
    stream = Gated()
    lines = Lines("test log", stream, lambda: 1.0)
    wanted = MAX_WAITING // 4000 + 200
    for _ in range(wanted):
        lines.put(b"{}".ljust(3999) + b"\n")
    lines.flush()
    stream.open.set()
    while lines._writer.waiting:
        await asyncio.to_thread(stream.reached.wait, 1)
    lines.put(b"{}\n")
    await lines.close()
    found = told(stream)
    dropped = [line for line in found if line]
    assert [{"time": 1.0, "dropped": wanted + 2 - len(found)}] == dropped


async def test_close_does_not_wait_for_ever() -> None:
    """A reader that has stopped cannot hold up the end of the process."""
    stream = Gated()
    lines = Lines("test log", stream)
    lines.put(b"{}\n")
    await lines.close(patience=0.01)
    assert b"" == stream.getvalue()
    stream.open.set()


@given(st.lists(st.integers(1, 64), min_size=1), st.integers(64, 200))
def test_pieces_are_whole_lines(lengths: list[int], most: int) -> None:
    """What several processes write to one pipe is never cut within a line, nor longer than the pipe keeps together."""
    lines = b"".join(b"x" * (length - 1) + b"\n" for length in lengths)
    found = list(pieces(lines, most))
    assert lines == b"".join(found)
    assert all(piece.endswith(b"\n") and len(piece) <= most for piece in found)
