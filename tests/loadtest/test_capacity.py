"""The backend of fixed capacity: never quicker, and never idle while somebody waits."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from loadtest import processes
from loadtest.capacity import FORMS, Form, serve

ASK = b"POST /v2/models/m/infer HTTP/1.1\r\nInference-Header-Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"


async def answered(form: Form, count: int) -> float:
    """Seconds until so many questions, asked at once over connections of their own, are answered."""
    port = processes.free_port()
    server = asyncio.create_task(serve(form, port))
    while not processes.listens(port):  # noqa: ASYNC110 - the server says nothing when it listens
        await asyncio.sleep(0.01)
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    began = time.monotonic()
    for _, writer in streams:
        writer.write(ASK)
    for reader, writer in streams:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
    took = time.monotonic() - began
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)
    return took


@pytest.mark.parametrize("name", FORMS)
def test_forty_questions_take_what_their_capacity_says(name: str) -> None:
    """All forms answer 200 a second when there is enough to do."""
    assert FORMS[name].capacity == pytest.approx(200)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert 0.19 <= runner.run(answered(FORMS[name], 40)) <= 0.4
