"""What a shadow that is dead, hangs or is slow does to those who are answered by somebody else: nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.faults.figures import LONG, Figures, percentile
from tests.features.conftest import Running, framed, image, run, until
from tests.real_parts import ROOT, free_ports

pytestmark = pytest.mark.slow

BLOCKS, BLOCK = (60, 240) if LONG else (2, 60)  # of requests, to a gateway without a shadow and one with it by turns
CLIENTS = 6
TAKES = 0.02  # seconds that an answer takes
POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:LIVE"]}
  dark: {protocol: triton-http, endpoints: ["127.0.0.1:DARK"]}
models:
  digits:
    timeout: 5s
    variants:
      live: {backend: triton, model: digits_fast, cost: 1, pure: true}
      next: {backend: dark, model: digits_fast, cost: 1, pure: true}
    routes: [{name: default, use: live}]
"""
SHADOW = "    shadows: [{name: dark, of: live, to: next, fraction: 20%, timeout: 1s, max_in_flight: 4, queue: 8}]\n"


CANDIDATES = {"dead": None, "hung": [], "slow": [str(20 * TAKES)]}  # what its process is told


@contextmanager
def server(arguments: list[str]) -> Iterator[int]:
    """The port of a server in a process of its own, so that its work is not the gateway's."""
    command = [sys.executable, "-m", "tests.faults.dark_server", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@asynccontextmanager
async def gateways(folder: Path, kind: str) -> AsyncIterator[tuple[Running, Running]]:
    """One without a shadow and one with it, before the same server; the candidate is of this kind."""
    told = CANDIDATES[kind]
    with server([str(TAKES)]) as live, server(told or []) as dark:
        ports = {"LIVE": live, "DARK": dark if told is not None else free_ports(1)[0]}
        made = []
        for name, shadow in (("plain", ""), ("dark", SHADOW)):
            (folder / name).mkdir()
            policy = POLICY + shadow
            for word, port in ports.items():
                policy = policy.replace(word, str(port))
            made.append(await run(folder / name, policy))
        try:
            yield made[0], made[1]
        finally:
            for each in made:
                await each.stop()


async def times(gate: Running, count: int) -> tuple[list[float], int]:
    """Seconds that so many requests took, and how many were not answered as they should be."""
    body = json.dumps({"inputs": [image([7])]}).encode()
    sent = b"".join(framed("POST", "/v2/models/digits/infer", gate.credential("free"), body))
    found: list[float] = []
    failed = 0

    async def ask() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.gateway.ports.http.port)
        for _ in range(count // CLIENTS):
            began = time.monotonic()
            writer.write(sent)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            found.append(time.monotonic() - began)
            failed += not (head.startswith(b"http/1.1 200 ") and b"x-penstock-cost: 1\r\n" in head)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    return found, failed


@pytest.mark.parametrize("kind", CANDIDATES)
async def test_the_primary_does_not_notice(tmp_path: Path, kind: str, figures: Figures) -> None:
    """No request fails, none costs more, and the tail is what it is without a shadow: measured by turns, as machines change."""
    seen: dict[str, list[float]] = {"plain": [], "dark": []}
    failures = 0
    async with gateways(tmp_path, kind) as (plain, dark):
        for gate in (plain, dark):
            await times(gate, BLOCK)  # until everything is connected
        for _ in range(BLOCKS):
            for name, gate in (("plain", plain), ("dark", dark)):
                found, failed = await times(gate, BLOCK)
                seen[name] += found
                failures += failed
        (told,) = dark.gateway.shadows.seen()
        await until(lambda: bool({"timeout", "error", "compared"} & told.ledger.outcomes.keys()))
        lane = dark.gateway.shadows.lanes["digits", "dark"]
        drawn = sum(told.ledger.outcomes.values()) + lane.running + len(lane.waiting)
    figures.none_of(f"Shadow, {kind}", "requests that failed, or were billed for it", failures, 2 * BLOCKS * BLOCK)
    figures.at_least(f"Shadow, {kind}", "questions drawn for it, of each 100", 100 * drawn / (BLOCKS * BLOCK + BLOCK), 5, " %")
    if LONG:
        ratio = percentile(seen["dark"], 0.99) / percentile(seen["plain"], 0.99)
        what = f"p99 beside {1000 * percentile(seen['plain'], 0.99):.1f} ms without it"
        figures.at_most(f"Shadow, {kind}", what, ratio, 1.02, " ×")
