"""Clients that ask and do not read, to the kernel's last byte: what they may hold in the process, and for how long."""

from __future__ import annotations

import contextlib
import json
import time
from functools import partial
from pathlib import Path

import pytest

from tests.conformance import raw
from tests.conformance.raw import LIVE, Client, Gate, request
from tests.real_parts import until

pytestmark = pytest.mark.slow

STUFFED = 64 << 10  # bytes that wait in the process before a client is not read any more (uvloop's high water)


def answer(size: int) -> bytes:
    """What the backend says: one string of that many letters."""
    output = {"name": "OUT", "datatype": "BYTES", "shape": [1], "data": ["x" * size]}
    return json.dumps({"model_name": "m", "model_version": "1", "outputs": [output]}).encode()


def whole(gate: Gate) -> int:
    """The bytes of one answer with its head, as a client that reads gets them."""
    with gate.client() as client:
        client.send(request("Connection: close"))
        return len(client.stream.read()) - len("Connection: close\r\n")


def taken(gate: Gate, client: Client) -> int:
    """The bytes of answers that the kernel has, at either end."""
    its, ours = (f":{port:04X}" for port in (client.socket.getsockname()[1], int(gate.process.http.split(":")[1])))
    return sum(
        int(queues.split(":")[0 if here.endswith(ours) else 1], 16)  # sent by the gateway, come to the client
        for _, here, there, _, queues, *_ in raw.sockets()
        if {here[-5:], there[-5:]} == {its, ours}
    )


def filled(gate: Gate, size: int) -> Client:
    """A client that the kernel has no more room for; what waits in the process is less than STUFFED."""
    client, asked = gate.client(receive=4096), gate.backend.asked
    asked.clear()

    def waits() -> bool:
        time.sleep(0.01)  # an answer on its way is counted at both ends
        return len(asked) * size - taken(gate, client) > size // 2

    while not (waits() and waits() and waits()):
        more = len(asked) + 1
        client.send(request())
        until(partial(lambda more: len(asked) == more, more))
    return client


def test_who_reads_nothing_is_ended_though_it_asks_on(tmp_path: Path) -> None:
    """Each answer to a small question is written behind those that wait, and moves nothing."""
    with raw.gate(tmp_path, answer(20_000), write_timeout="2s") as gate:
        size = whole(gate)
        with filled(gate, size) as client:
            begin = time.monotonic()
            while gate.held() and time.monotonic() - begin < 8:
                client.send(LIVE)
                time.sleep(0.3)
            assert 1 < time.monotonic() - begin < 5  # its time began when the first byte waited, a little before


def test_answers_that_nobody_reads_wait_within_bounds(tmp_path: Path) -> None:
    """However small they are; one that reads is answered meanwhile."""
    limits = {"write_timeout": "1m", "unsent": "256KiB"}
    with raw.gate(tmp_path, answer(50_000), **limits) as gate, gate.peak(), contextlib.ExitStack() as crowd:
        for _ in range(24):
            crowd.enter_context(gate.client(receive=4096)).send(request() * 150)
        until(lambda: gate.held() <= (256 << 10) // STUFFED, 20)
        assert "slow readers cut off: more than 262144 bytes" in gate.process.log()
        with gate.client() as reader:
            reader.send(request())
            assert (reply := reader.reply()) is not None
            assert 200 == reply.status
