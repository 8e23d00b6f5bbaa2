"""A backend of fixed capacity: answers what it has taken in, in order and never quicker, also where nobody waits for it any more.

`python -m loadtest.capacity FORM PORT`. It takes in all that comes, as servers of models do, and a question that was given up
costs it as much as any other: that is what makes overload dear.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import cast

import uvloop

from loadtest import traffic
from loadtest.pacing import NANOSECONDS, Alarm


@dataclass(frozen=True, slots=True)
class Form:
    """`servers` before one queue; each takes up to `batch` questions for `seconds`, and `each` for every one of them."""

    servers: int
    seconds: float
    batch: int = 1
    each: float = 0.0

    @property
    def capacity(self) -> float:
        """Answers a second, when there is enough to do."""
        return self.servers * self.batch / (self.seconds + self.each * self.batch)


FORMS = {
    "single": Form(1, 0.005),
    "four": Form(4, 0.02),
    "batches": Form(1, 0.02, batch=8, each=0.0025),
}


class Station:
    """Who waits and who is served. Times are nanoseconds; each piece of work begins when the one before it should have ended."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._free = form.servers
        self._queue: deque[Connection] = deque()
        self._working: list[tuple[int, int, list[Connection]]] = []
        self._order = itertools.count()
        self._alarm = Alarm(asyncio.get_running_loop(), self._ring)

    def take(self, connection: Connection) -> None:
        """One more question."""
        self._queue.append(connection)
        self._begin(time.monotonic_ns())

    def _begin(self, now: int) -> None:
        form = self._form
        while self._free and self._queue:
            taken = [self._queue.popleft() for _ in range(min(form.batch, len(self._queue)))]
            self._free -= 1
            took = round((form.seconds + form.each * len(taken)) * NANOSECONDS)
            heapq.heappush(self._working, (now + took, next(self._order), taken))
        if self._working:
            self._alarm.set(self._working[0][0])

    def _ring(self) -> None:
        now = time.monotonic_ns()
        while self._working and self._working[0][0] <= now:
            ended, _, taken = heapq.heappop(self._working)
            self._free += 1
            for connection in taken:
                connection.answer()
            self._begin(ended)
        if self._working:
            self._alarm.set(self._working[0][0])


class Connection(asyncio.Protocol):
    """Reads just enough of HTTP/1.1 to know where a request ends."""

    def __init__(self, station: Station, answer: bytes) -> None:
        self._station = station
        self._answer = answer
        self._unread = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for a request."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of a request, or more than one."""
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n") + 4) > 3:
            head = self._unread[:end].lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0] or 0)
            if len(self._unread) < end + length:
                return
            self._unread = self._unread[end + length :]
            if head.startswith(b"post "):
                self._station.take(self)
            else:
                found = b"200 OK" if head.split(b" ")[1].endswith(b"/ready") else b"404 Not Found"
                self._transport.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % found)

    def answer(self) -> None:
        """The work is done; whoever asked may be gone."""
        if not self._transport.is_closing():
            self._transport.write(self._answer)


def _answer() -> bytes:
    message = traffic.answers()["digits_1k"]
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in message.headers), f"Content-Length: {len(message.body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + message.body


async def serve(form: Form, port: int) -> None:
    """Serves until killed."""
    station, answer = Station(form), _answer()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(station, answer), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(FORMS[sys.argv[1]], int(sys.argv[2])))
