"""Slow clients and bombs: each is ended by its clock or its bound, and nobody else notices."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryFile
from typing import Any

import pytest

from tests.conformance import raw
from tests.conformance.raw import BODY, KEY, MORE, Gate, request
from tests.real_parts import ROOT, until

pytestmark = pytest.mark.slow

CLOCKS: dict[str, Any] = {
    "first_byte_timeout": "2s", "headers_timeout": "2s", "body_grace": "2s", "write_timeout": "2s", "idle_timeout": "2s",
    "linger_timeout": "500ms", "connections_per_address": None,
}  # fmt: skip
CLOCK = 2.0  # seconds
LATE = 1.5  # by the sweep, for the last words, and because this machine is busy
CROWD = 300
WINDOW = 0.4  # seconds
LARGE = json.dumps(
    {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "OUT", "datatype": "BYTES", "shape": [1], "data": ["x" * 10**6]}],
    }
).encode()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with short clocks."""
    with raw.gate(tmp_path_factory.mktemp("slow"), **CLOCKS) as made:
        yield made


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The same before a backend whose answers are a megabyte long."""
    with raw.gate(tmp_path_factory.mktemp("wordy"), LARGE, **CLOCKS) as made:
        yield made


WATCH = """
import sys, time
with open(f"/proc/{sys.argv[1]}/schedstat") as file:
    queued = float("inf")
    while True:
        began, before = time.monotonic(), queued
        time.sleep(0.005)
        file.seek(0)
        ended, queued = time.monotonic(), int(file.read().split()[1]) / 1e9
        if (taken := max(ended - began - 0.005, queued - before)) > 0.001:
            print(ended, taken, flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def pauses(gate: Gate) -> Iterator[Callable[[float], int]]:
    """How often so far this machine took at least half of so many seconds from the gateway's loop.

    It lets the loop's thread wait for a core (proc(5), schedstat), or stands still, which this process notices by itself.
    """
    watch = [sys.executable, "-c", WATCH, str(gate.process.process.pid)]
    with TemporaryFile("w+") as seen, subprocess.Popen(watch, stdout=seen) as process:

        def read(seconds: float) -> int:
            seen.seek(0)
            return times([(float(end), float(taken)) for end, taken in map(str.split, seen.read().splitlines())], seconds)

        yield read
        process.kill()


def times(seen: list[tuple[float, float]], seconds: float) -> int:
    """Windows of so many seconds, none over another, of which half or more was taken; `seen`: when, and how much then."""
    found, inside, total = 0, deque[tuple[float, float]](), 0.0
    for end, taken in seen:
        inside.append((end, taken))
        total += taken
        while inside[0][0] <= end - seconds:
            total -= inside.popleft()[1]
        if total >= seconds / 2:
            found, total = found + 1, 0.0
            inside.clear()
    return found


def test_what_the_machine_took_is_told_from_what_took_long_itself() -> None:
    """Half of the window in pieces, all of it at once, too little, and too far apart."""
    assert 0 == times([], 0.05)
    assert 1 == times([(1.00, 0.01), (1.02, 0.01), (1.04, 0.01)], 0.05)
    assert 2 == times([(1.0, 0.2), (2.0, 0.03)], 0.05)
    assert 0 == times([(1.0, 0.02)], 0.05)
    assert 0 == times([(1.00, 0.02), (1.06, 0.02), (1.12, 0.02)], 0.05)


def held(gate: Gate) -> int:
    """How many it has open; looking costs those who are measured meanwhile, so it is not done often."""
    time.sleep(0.05)
    return gate.held()


@contextmanager
def crowd(gate: Gate, first: bytes, piece: str = "", sip: int = 0, count: int = CROWD) -> Iterator[None]:
    """That many slow clients of another process, from when they are connected to the end of the block."""
    told = {"first": first.replace(KEY, gate.process.key.encode()).decode(), "piece": piece, "sip": sip}
    command = [sys.executable, "-m", "tests.faults.slow_crowd", *gate.process.http.split(":"), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        assert b"ready\n" == process.stdout.readline()
        yield


class Good:
    """A client that asks one question after another and knows how long each took."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.took: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Good:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with self._gate.client() as client:
            while not self._over.is_set():
                begin = time.monotonic()
                client.send(request())
                reply = client.reply()
                assert reply is not None
                assert 200 == reply.status
                self.took.append((begin, time.monotonic() - begin))

    def p99(self, since: float, until: float) -> float:
        """The median of the 99th percentiles of windows between these moments, in seconds."""
        windows: dict[int, list[float]] = {}
        for begin, seconds in self.took:
            if since <= begin < until:
                windows.setdefault(int((begin - since) / WINDOW), []).append(seconds)
        return median(sorted(each)[len(each) * 99 // 100] for each in windows.values() if len(each) >= 20)


CROWDS = {
    "nothing": (b"", "", 0),
    "slow headers": (b"POST /v2/models/echo/infer HTTP/1.1\r\nX: ", "y", 0),
    "slow body": (request("Content-Length: 100000", body=BODY), " ", 0),
    "slow chunks": (request("Transfer-Encoding: chunked", body=b"1\r\n{\r\n"), "1\r\n \r\n", 0),
    "slow to begin again": (b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n", "", 1),
}


def beside_a_crowd(gate: Gate, first: bytes, piece: str, sip: int) -> tuple[float, float]:
    """The p99 of somebody else's requests, usually and while the crowd is there, which is gone by its clock."""
    with Good(gate) as good, gate.peak():
        until(lambda: len(good.took) > 50)
        before = time.monotonic()
        time.sleep(4 * WINDOW)
        with crowd(gate, first, piece, sip):
            there = time.monotonic()
            until(lambda: held(gate) > 0.9 * CROWD)
            until(lambda: held(gate) == 1, CLOCK + LATE)
            gone = time.monotonic()
    return good.p99(before, before + 4 * WINDOW), good.p99(there, gone)


@pytest.mark.timed
@pytest.mark.parametrize("kind", CROWDS)
def test_slow_senders_end_by_their_clock(gate: Gate, kind: str) -> None:
    """300 of them hold a connection each so long and no longer; meanwhile others wait no longer than without them."""
    usual, crowded = beside_a_crowd(gate, *CROWDS[kind])
    assert crowded <= max(1.5 * usual, usual + 0.005)


@pytest.mark.timed
def test_slow_readers_end_by_their_clock(wordy: Gate) -> None:
    """300 that sip at answers of a megabyte: the kernel holds what it can, the process holds little, and then nothing."""
    before = wordy.rss()
    with crowd(wordy, request(), sip=1):
        until(lambda: len(wordy.backend.asked) >= CROWD, 15)
        until(lambda: wordy.rss() <= before + MORE)
        until(lambda: held(wordy) == 0, CLOCK + LATE)


@pytest.mark.timed
def test_readers_that_hold_more_than_the_kernel_does_are_cut_off(wordy: Gate) -> None:
    """Answers that the kernel has no room for wait in the process; for a reader below the rate they do not wait long."""
    asked = len(wordy.backend.asked)
    with crowd(wordy, request() * 12, sip=20, count=20):
        until(lambda: held(wordy) == 20)
        until(lambda: held(wordy) == 0, 3 * CLOCK + LATE)
    assert len(wordy.backend.asked) < asked + 20 * 12  # what was not read was not asked for


def nested() -> bytes:
    return gzip.compress(gzip.compress(bytes(64 << 20)))


BOMBS: dict[str, tuple[str, Callable[[], bytes], tuple[int, str]]] = {  # made when they are sent: that takes seconds
    "gzip": ("gzip", lambda: gzip.compress(bytes(256 << 20)), (413, "inflated")),
    "deflate": ("deflate", lambda: zlib.compress(bytes(256 << 20)), (413, "inflated")),
    "many members": ("gzip", lambda: gzip.compress(bytes(1 << 20)) * 200, (413, "inflated")),
    "empty members": ("gzip", lambda: gzip.compress(b"") * 100_000, (400, "invalid")),
    "nested, one coding told": ("gzip", nested, (400, "json")),
    "nested, both told": ("gzip, gzip", nested, (415, "unsupported")),
    "noise, then a bomb": ("gzip", lambda: gzip.compress(os.urandom(100_000) + bytes(64 << 20)), (413, "inflated")),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_do_not_go_off(gate: Gate, kind: str) -> None:
    """Sixteen at a time are refused, with little memory and little time, and the connection lives on."""
    coding, made, answer = BOMBS[kind]
    body = made()
    with gate.peak():
        clients = [gate.client() for _ in range(16)]
        for client in clients:
            client.send(request(f"Content-Encoding: {coding}", body=body))
        for client in clients:
            with client:
                reply = client.reply()
                assert reply is not None
                assert answer == (reply.status, reply.reason)
                client.send(raw.LIVE)
                assert (live := client.reply()) is not None
                assert 200 == live.status


def test_nothing_held_the_loop(gate: Gate, pauses: Callable[[float], int]) -> None:
    """All of the above, and nothing took more than 50 ms of the loop, but for what a busy machine takes from the process."""
    buckets = {float(labels["le"]): value for labels, value in gate.process.samples()["penstock_loop_stall_seconds_bucket"]}
    for limit, many in ((0.05, 2), (0.5, 0)):
        assert buckets[float("inf")] - buckets[limit] <= many + pauses(limit)
