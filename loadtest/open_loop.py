"""Sends requests at moments fixed in advance and counts latency from those moments, so that a slow server cannot hide its queue.

A closed loop (wrk) sends the next request when the last is answered: a server that stalls for a second is asked once in
that second and shows one bad figure ("coordinated omission"). Here every request that was due in that second is counted
with its whole wait, also when all connections are taken and it has to wait for one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from loadtest.histogram import PRECISION, Histogram
from loadtest.pacing import NANOSECONDS, Alarm, schedule

LATE_SHARE = 0.5
LATE_EXIT = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the whole request as it is written to the socket."""

    host: str
    port: int
    request: bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a run. Times are microseconds; `late`: how long after a request's moment the generator turned to it.

    A request that then waits for a connection waits for the server: that is latency, not lateness.
    """

    scheduled: int
    answered: int
    errors: int
    rate: float
    p50: float
    p90: float
    p99: float
    p999: float
    maximum: float
    late_p50: float
    late_p99: float
    busy: float  # the share of a core that the generator used

    @property
    def late(self) -> bool:
        """Whether the latencies are rather the generator's own.

        Its lateness is more than LATE_SHARE of them, at the median or at p99; or it used more than LATE_SHARE of its core, so
        that answers lay waiting for it.
        """
        share = LATE_SHARE
        return self.answered > 0 and (self.late_p50 > share * self.p50 or self.late_p99 > share * self.p99 or self.busy > share)


def target(url: str, body: bytes, headers: Sequence[tuple[str, str]]) -> Target:
    """A POST (a GET without a body) over HTTP/1.1. Raises ValueError for anything but http://host[:port]/path."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is no http:// URL with a host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return Target(parts.hostname, parts.port or 80, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


class Connection(asyncio.Protocol):
    """One connection with at most one request on it; `due` is that request's moment."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.due: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait to be given a request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's

    def send(self, due: int) -> None:
        """Write the request that was due then."""
        assert self._transport is not None
        self.due = due
        self._transport.write(self._run.target.request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_message_complete(self) -> None:
        """The answer is whole (httptools calls this)."""
        due, self.due = self.due, None
        status, keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        if not keep_alive:
            self.close()
        if due is not None and status != 100:
            self._run.answered(self, due, status)

    def connection_lost(self, reason: Exception | None) -> None:
        """A request that was on it is lost."""
        due, self.due = self.due, None
        self._run.lost(self, due)

    def close(self) -> None:
        """Let go of the socket."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()


class Run:
    """One run: the schedule, the pool of connections, the requests waiting for one, and what was counted."""

    def __init__(self, target: Target, moments: Sequence[int], connections: int) -> None:
        self.target = target
        self._moments = moments
        self._size = connections
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._waiting: deque[int] = deque()
        self._next = 0
        self._start = 0
        self._errors = 0
        self._latency, self._late = Histogram(), Histogram()
        self._over = asyncio.Event()

    async def run(self, grace: float) -> Summary:
        """Send the whole schedule; what is unanswered `grace` seconds after its end is an error. OSError if nobody listens."""
        await asyncio.gather(*(self._dial() for _ in range(self._size)))
        alarm = Alarm(asyncio.get_running_loop(), lambda: self._send_due(alarm))
        self._start = time.monotonic_ns() + NANOSECONDS // 50
        used = time.process_time()
        length = self._moments[-1] / NANOSECONDS if self._moments else 0.0
        alarm.set(self._start)
        try:
            async with asyncio.timeout(length + grace):
                await self._over.wait()
        except TimeoutError:
            self._errors = len(self._moments) - self._latency.total
        alarm.close()
        self._over.set()
        took, used = (time.monotonic_ns() - self._start) / NANOSECONDS, time.process_time() - used
        for connection in tuple(self._open):
            connection.close()
        for task in self._dialling:
            task.cancel()
        return self._summary(took, used)

    def answered(self, connection: Connection, due: int, status: int) -> None:
        """An answer came: a 2xx is counted with its latency, anything else as an error."""
        if 200 <= status < 300:
            self._latency.record((time.monotonic_ns() - due) / 1000)
        else:
            self._errors += 1
        if connection.usable:
            self._idle.append(connection)
        self._give_out()

    def lost(self, connection: Connection, due: int | None) -> None:
        """A connection ended: what was on it is an error, and another one takes its place."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._errors += due is not None
        self._give_out()
        self._refill()

    def _send_due(self, alarm: Alarm) -> None:
        now = time.monotonic_ns() - self._start
        while self._next < len(self._moments) and self._moments[self._next] <= now:
            self._waiting.append(self._start + self._moments[self._next])
            self._late.record((now - self._moments[self._next]) / 1000)
            self._next += 1
        if self._next < len(self._moments):
            alarm.set(self._start + self._moments[self._next])
        self._give_out()
        if self._waiting:
            self._refill()

    def _give_out(self) -> None:
        while self._waiting and self._idle:
            self._idle.pop().send(self._waiting.popleft())
        if self._next == len(self._moments) and self._latency.total + self._errors >= len(self._moments):
            self._over.set()

    def _refill(self) -> None:
        if not self._over.is_set() and len(self._open) + len(self._dialling) < self._size:
            task = asyncio.get_running_loop().create_task(self._redial())
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), self.target.host, self.target.port)
        self._open.add(connection)
        self._idle.append(connection)
        self._give_out()

    async def _redial(self) -> None:
        try:
            await self._dial()
        except OSError:
            if not self._open:
                # Nobody listens now: what waits is lost, and keeping it for a later attempt would only hide that.
                self._errors += len(self._waiting)
                self._waiting.clear()
                self._give_out()

    def _summary(self, took: float, used: float) -> Summary:
        latency = self._latency
        return Summary(
            scheduled=len(self._moments),
            answered=latency.total,
            errors=self._errors,
            rate=latency.total / took,
            p50=latency.percentile(50),
            p90=latency.percentile(90),
            p99=latency.percentile(99),
            p999=latency.percentile(99.9),
            maximum=latency.maximum,
            late_p50=self._late.percentile(50),
            late_p99=self._late.percentile(99),
            busy=used / took,
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    example = "example: python -m loadtest.open_loop --url http://127.0.0.1:8080/v2/models/digits/infer --body infer.json"
    parser = argparse.ArgumentParser("loadtest.open_loop", description=__doc__, epilog=example)
    parser.add_argument("--url", required=True, help="http://host[:port]/path")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second (default 200)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the schedule (default 5)")
    parser.add_argument("--body", type=Path, help="file to POST; without one the request is a GET")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be repeated")
    parser.add_argument(
        "--connections", type=int, default=32, help="keep-alive connections, one request at a time on each (default 32)"
    )
    parser.add_argument("--even", action="store_true", help="equal distances instead of Poisson arrivals")
    parser.add_argument("--seed", type=int, default=1, help="of the Poisson arrivals (default 1)")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds to wait for answers after the end (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.rate <= 0 or options.seconds <= 0 or options.connections < 1 or options.grace < 0:
        parser.error("--rate and --seconds are above 0, --connections at least 1, --grace not below 0")
    if any(":" not in header for header in options.header):
        parser.error("a header is written 'Name: value'")
    return options


def text(summary: Summary) -> str:
    """The summary as people read it."""
    return (
        f"{summary.answered} of {summary.scheduled} answered, {summary.errors} errors, {summary.rate:.0f}/s\n"
        f"latency from the scheduled moment, µs (to {PRECISION:.0%}): p50 {summary.p50:.0f}  p90 {summary.p90:.0f}  "
        f"p99 {summary.p99:.0f}  p99.9 {summary.p999:.0f}  max {summary.maximum:.0f}\n"
        f"the generator's own lateness, µs: p50 {summary.late_p50:.0f}  p99 {summary.late_p99:.0f}; "
        f"it used {summary.busy:.0%} of a core"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every request was answered with a 2xx; 1: some were not; 2: nobody listens there, or the command is wrong; 3: late."""
    options = parse(arguments)
    headers = [(name.strip(), value.strip()) for name, _, value in (header.partition(":") for header in options.header)]
    try:
        asked = target(options.url, options.body.read_bytes() if options.body else b"", headers)
        moments = schedule(options.rate, options.seconds, options.seed, options.even)
        summary = uvloop.run(Run(asked, moments, options.connections).run(options.grace))
    except (OSError, ValueError) as error:
        print(f"open_loop: {error}", file=sys.stderr)
        return 2
    if summary.late:
        print(f"open_loop: nothing to report, the generator itself was late:\n{text(summary)}", file=sys.stderr)
        return LATE_EXIT
    print(json.dumps(asdict(summary)) if options.json else text(summary))
    return 1 if summary.errors else 0


if __name__ == "__main__":
    sys.exit(main())
