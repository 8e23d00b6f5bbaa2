"""Clients that ask when it is time and wait no longer than their patience."""

from __future__ import annotations

import asyncio
from collections import Counter

from loadtest.crowd import BURST, GAVE_UP, LOST, Crowd, arrivals
from loadtest.pacing import NANOSECONDS


async def told(answer: bytes | None, count: int = 20) -> Counter[int]:
    """The statuses that a crowd hears of a server that always answers so, or never."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            if answer is not None:
                writer.write(answer)
                if b"close" in answer:
                    break
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        crowd = Crowd(server.sockets[0].getsockname()[1], b"GET / HTTP/1.1\r\n\r\n", 0.1)
        found = await crowd.run([index * NANOSECONDS // 200 for index in range(count)])
    assert [index * NANOSECONDS // 200 for index in range(count)] == sorted(each.due for each in found)
    assert all(each.seconds >= 0.1 for each in found if each.status == GAVE_UP)
    return Counter(each.status for each in found)


async def test_everybody_is_told_something() -> None:
    """Answers by their status, whether or not the connection is kept; silence; and a port where nobody listens."""
    assert {200: 20} == await told(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert {503: 20} == await told(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert {GAVE_UP: 20} == await told(None)
    nobody = await Crowd(1, b"GET / HTTP/1.1\r\n\r\n", 0.1).run([0, 1000])
    assert [LOST, LOST] == [each.status for each in nobody]


def test_arrivals() -> None:
    """Each kind asks as much in all; bursts leave every other piece of time empty."""
    for kind in ("smooth", "bursty", "even"):
        assert abs(len(arrivals(kind, 500, 4.0, 1)) - 2000) < 200
        assert arrivals(kind, 500, 1.0, 1) == arrivals(kind, 500, 1.0, 1)
    assert {0} == {int(moment / NANOSECONDS / BURST) % 2 for moment in arrivals("bursty", 500, 4.0, 1)}
