"""A program that exits 1 if a request, permit, task, socket or connection survives 200 requests, half of them cut off by clients.

    python -m tests.leaks.clients_that_leave [SEED]

Over HTTP and over gRPC, through a limit and a cascade; the moments are random, the seed repeats them. Prints what is left over.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import uvloop
from tritonclient.grpc import service_pb2

from policies.limit import LocalMeter
from tests.features.conftest import Running, ask, framed, packed, run
from tests.features.oip_server import Received, answered, written

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"], max_in_flight: 32}}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
    fallback: {accurate: fast}
limits: [{per: subject, requests: 100000/s, concurrency: 1000}]
"""
REQUESTS = 200
AT_ONCE = 25
LONGEST = 0.02  # seconds a client has patience, and a backend takes


class Slow:
    """A script of the server: answers after a random while, or breaks off."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def __call__(self, asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(self._chance.random() * LONGEST)
        if self._chance.random() < 0.9:
            writer.write(written(200, *answered(asked, {1: 0.5, 2: 0.5})))
            return True
        writer.transport.abort()
        return False


async def over_http(gate: Running, rows: list[int]) -> None:
    body, headers = packed(rows)
    sent = framed("POST", "/v2/models/digits/infer", {**gate.credential("free"), **headers}, body)
    await ask(gate.gateway.ports.http.port, sent)


async def over_grpc(stub: Any, gate: Running, rows: list[int]) -> None:
    data = np.zeros((len(rows), 4), "<f4")
    data[:, 0] = rows
    asked = service_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[data.tobytes()])
    asked.inputs.add(name="image", datatype="FP32", shape=[len(rows), 4])
    try:
        await stub.ModelInfer(asked, metadata=(("x-api-key", gate.keys["free"]),))
    except grpc.aio.AioRpcError:
        pass  # the backend broke off


async def storm(gate: Running, chance: random.Random) -> int:
    """Asks everything, cutting every other request off at a random moment; how many were cut off in time."""
    stub, room, cut = gate.stub(), asyncio.Semaphore(AT_ONCE), 0

    async def one(number: int) -> None:
        nonlocal cut
        rows = [chance.randrange(4) for _ in range(3)]
        async with room:
            asking = asyncio.ensure_future(over_grpc(stub, gate, rows) if number % 4 > 1 else over_http(gate, rows))
            await asyncio.wait([asking], timeout=chance.random() * LONGEST if number % 2 else None)
            cut += asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*(one(number) for number in range(REQUESTS)))
    return cut


async def settled(gate: Running) -> list[str]:
    """What of the requests is still there once everybody had time to notice that the clients left."""
    cluster = gate.gateway.plane.snapshot.clusters["triton"]
    meter = gate.gateway._lasting.meter
    assert isinstance(meter, LocalMeter)

    def left() -> dict[str, int]:
        return {
            "questions at the cluster": cluster.in_flight,
            "questions at the endpoint": cluster.endpoints[0].in_flight,
            "permits of a limit": sum(meter.buckets.counts.values()),
            "HTTP connections": gate.gateway.ports.http.connections,
            "tasks of requests": sum("_serve" in repr(task.get_coro()) for task in asyncio.all_tasks())
            - gate.backend.connections,
        }

    until = asyncio.get_running_loop().time() + 5
    while any(left().values()) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - seen from outside only
        await asyncio.sleep(0.01)
    return [f"{count} {what}" for what, count in left().items() if count]


def sockets() -> int:
    """How many sockets this process has open; Python's own objects, and what libuv holds without them."""
    links = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return sum("socket:" in str(link) for link in links)


async def main(seed: int) -> list[str]:
    """Everything that should not be there any more."""
    chance = random.Random(seed)
    before = asyncio.all_tasks()
    with tempfile.TemporaryDirectory() as folder:
        gate = await run(Path(folder), POLICY)
        gate.backend.scripts = dict.fromkeys(("digits_fast", "digits_accurate"), Slow(chance))
        cut = await storm(gate, chance)
        left = await settled(gate)
        counted = sum(value for (name, _), value in (await gate.metrics()).items() if name == "penstock_requests_total")
        await gate.stop()
    print(f"seed {seed}: {REQUESTS} requests, {cut} cut off, {counted:g} counted")  # noqa: T201
    if cut < REQUESTS // 8:
        left.append("too few requests were cut off for this to mean anything")
    await asyncio.sleep(0.05)  # closed transports are told in the loop's next turns
    left += [f"task {task.get_name()}: {task.get_coro()}" for task in asyncio.all_tasks() - before]
    return left


def check(seed: int) -> int:
    """Runs once; 1 if something is left over."""
    start, threads = sockets(), threading.active_count()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        left = runner.run(main(seed))
        still = sockets()
    if still > start + 4:  # the loop's own, and grpc's poller
        left.append(f"{still - start} sockets")
    named = [thread.name for thread in threading.enumerate() if "access-log" in thread.name]
    left += [f"thread {name}" for name in named] if threading.active_count() > threads else []
    for each in left:
        print("left over:", each, file=sys.stderr)  # noqa: T201
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(check(int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 32)))
