"""What hedges are for: servers that take long now and then, asked with and without them, and what that costs."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.figures import LONG, Figures, percentile
from tests.features.conftest import Running, framed, image, run
from tests.features.oip_server import Received, Server, answered, written

pytestmark = pytest.mark.slow

REQUESTS = 2000 if LONG else 400
CLIENTS = 6
SLOW, SHARE = 0.4, 0.015  # seconds that an answer takes now and then, and how often
POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT", OTHERS], max_in_flight: 20, HEDGE}
models:
  digits:
    timeout: 10s
    variants: {fast: {backend: triton, model: digits_fast}}
    routes: [{name: default, use: fast}]
"""


class NowAndThen:
    """A script: some answers take long. Counts the questions, and those that were taken back meanwhile."""

    def __init__(self) -> None:
        self.asked = self.slow = self.left = 0
        self._chance = random.Random(5)

    async def __call__(self, asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.asked += 1
        if self._chance.random() < SHARE:
            self.slow += 1
            try:
                await asyncio.wait_for(reader.read(1), SLOW)
            except TimeoutError:
                pass
            else:
                self.left += 1
                return False
        writer.write(written(200, *answered(asked, {})))
        return True


@asynccontextmanager
async def three(folder: Path, script: NowAndThen, hedge: str) -> AsyncIterator[Running]:
    """A gateway before three such servers."""
    others = [Server(), Server()]
    for each in others:
        await each.start()
    addresses = ", ".join(f'"127.0.0.1:{each.port}"' for each in others)
    gate = await run(folder, POLICY.replace("OTHERS", addresses).replace("HEDGE", hedge))
    for each in (gate.backend, *others):
        each.scripts["digits_fast"] = script
    try:
        yield gate
    finally:
        await gate.stop()
        for each in others:
            await each.close()


async def times(gate: Running, count: int, **headers: str) -> list[float]:
    """Seconds that so many requests took; all are answered."""
    body = json.dumps({"inputs": [image([7])]}).encode()
    sent = b"".join(framed("POST", "/v2/models/digits/infer", {**gate.credential("free"), **headers}, body))
    found: list[float] = []

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.gateway.ports.http.port)
        for _ in range(count // CLIENTS):
            began = time.monotonic()
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            found.append(time.monotonic() - began)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    return found


@pytest.mark.timed
async def test_hedges_cut_the_tail(tmp_path: Path, figures: Figures) -> None:
    """p99 falls to a third at least, by at most 5 % more asks; whoever lost is let go; a client's Idempotency-Key forbids it."""
    seen: dict[str, float] = {}
    for name, hedge in (("without", "breaker: {failures: 5}"), ("with", "hedge: {after: p95, budget: 5%}")):
        script = NowAndThen()
        async with three(tmp_path, script, hedge) as gate:
            await times(gate, 300)  # until it is known what is usual
            script.slow = script.left = 0
            seen[name] = percentile(await times(gate, REQUESTS), 0.99)
            if name == "with":
                figures.at_most("Hedges", "asks beside each 100", 100 * (script.asked / (REQUESTS + 300) - 1), 5, " %")
                assert script.left >= script.slow / 2  # the rest: both were slow, or the budget was spent
                before = script.asked
                await times(gate, 300, **{"Idempotency-Key": "once"})
                figures.none_of("Hedges", "with an Idempotency-Key", script.asked - before - 300, 300)
    what = f"p99 with hedges, of {1000 * seen['without']:.0f} ms without"
    figures.at_most("Hedges", what, 1000 * seen["with"], 1000 * seen["without"] / 3, " ms")
