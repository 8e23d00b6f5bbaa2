"""Gateways that share a real Redis, and clients that ask them over connections that are kept alive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from tests.features.conftest import Running, framed, image, run

LIMITED = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}}
    routes: [{name: default, use: fast}]
limits:
  - {name: free, match: {tier: free}, per: tenant, requests: RATE/s, burst: BURST}
"""


def limited(rate: int, burst: int) -> str:
    """A policy whose only limit is this one."""
    return LIMITED.replace("RATE", str(rate)).replace("BURST", str(burst))


@asynccontextmanager
async def sharing(
    folder: Path, policy: str, store: str, count: int = 2, auth: str = "", **settings: str
) -> AsyncIterator[list[Running]]:
    """So many gateways of one policy on one store, that have found it."""
    gates: list[Running] = []
    try:
        for number in range(count):
            (own := folder / f"gate-{number}").mkdir()
            gates.append(await run(own, policy, auth, store=store, **settings))
        yield gates
    finally:
        for gate in gates:
            await gate.stop()


async def up(gates: Sequence[Running], expected: bool = True, seconds: float = 10.0) -> float:
    """Returns when all of them may ask the store, or none may; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        for gate in gates:
            while (1 == (await gate.metrics())["penstock_store_up", ()]) is not expected:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.002)
    return time.monotonic() - began


class Client:
    """Asks one question after the other over one connection; what it was told, in order: status, when, seconds."""

    def __init__(self, gate: Running, caller: str = "free") -> None:
        self._port = gate.gateway.ports.http.port
        body = json.dumps({"inputs": [image([7])]}).encode()
        self.request = b"".join(framed("POST", "/v2/models/digits/infer", gate.credential(caller), body))
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.told: list[tuple[int, float, float]] = []

    async def ask(self) -> int:
        """One question; the status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        began = time.monotonic()
        writer.write(self.request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        status = int(head.split(None, 2)[1])
        self.told.append((status, time.monotonic(), time.monotonic() - began))
        return status

    async def ask_for(self, seconds: float, rate: float) -> None:
        """So many a second, at even distances."""
        began = time.monotonic()
        for number in range(round(seconds * rate)):
            await asyncio.sleep(began + number / rate - time.monotonic())
            await self.ask()

    def seconds(self, since: float = 0.0) -> list[float]:
        """How long the answers took that came since then."""
        return [seconds for _, at, seconds in self.told if at >= since]

    def allowed(self, since: float = 0.0) -> int:
        """How many were not refused since then."""
        return sum(status == 200 for status, at, _ in self.told if at >= since)

    def close(self) -> None:
        """No more questions."""
        if self._streams is not None:
            self._streams[1].close()


async def usual(client: Client, questions: int = 100) -> float:
    """The median time of an answer while all is well."""
    for _ in range(questions):
        await client.ask()
    return median(client.seconds()[-questions:])
