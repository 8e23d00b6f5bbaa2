"""A budget that four processes share through Redis, with clients that leave and questions that are too late: spent to the last,
never beyond; where time and tokens cost, by no more than one reservation."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.figures import Figures
from tests.features.conftest import ask, framed, image
from tests.features.oip_server import Received, Server, answered, written
from tests.real_parts import GatewayProcess, Redis, start_gateway

pytestmark = pytest.mark.slow

SUM, CLIENTS, EACH = 3000.0, 64, 25
STAGES = [{"use": "fast", "accept": 0.9}, {"use": "accurate"}]


@pytest.fixture
async def backend() -> AsyncIterator[Server]:
    """Unsure of every third row."""
    server = Server()
    await server.start()
    server.confidence = {"digits_fast": dict.fromkeys(range(0, 100, 3), 0.5)}
    yield server
    await server.close()


KNOWN = {"call": 1, "row": 1}, {"row": 10}
MEASURED = {"row": 1, "gpu_ms": 0.5}, {"row": 2, "gpu_ms": 0.1, "token": 0.001, "tokens": "label", "most_tokens": 400}
FIRST = 1 + 0.5 * 500  # the most that the first stage of one row can cost


def policy(backend: Server, costs: tuple[dict[str, Any], dict[str, Any]] = KNOWN, timeout: str = "5s") -> dict[str, Any]:
    """Two prices, one cascade, one budget for each tenant."""
    variants = {
        "fast": {"backend": "triton", "model": "digits_fast", "cost": costs[0]},
        "accurate": {"backend": "triton", "model": "digits_accurate", "cost": costs[1]},
    }
    cascade = {"confidence": {"output": "probabilities", "metric": "max-softmax"}, "stages": STAGES}
    model = {"timeout": timeout, "variants": variants, "routes": [{"name": "default", "cascade": cascade}]}
    return {
        "version": 1,
        "backends": {"triton": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{backend.port}"]}},
        "models": {"digits": model},
        "limits": [{"name": "own", "per": "tenant", "cost": f"{SUM:g}/day"}],
    }


class Slowing:
    """A script that begins to take its time when half of the sum is paid: what was reserved for those in flight then is not by
    what they took lately."""

    def __init__(self, backend: Server) -> None:
        self.backend = backend
        self.paid = 0.0

    async def __call__(self, asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self.paid > SUM / 2:
            await asyncio.sleep(0.4)
        writer.write(written(200, *answered(asked, self.backend.confidence["digits_fast"])))
        return True


async def client(gates: list[GatewayProcess], seed: int, seen: Counter[str], slowing: Slowing | None = None) -> None:
    """Asks one after the other until all is spent; a tenth has 3 ms only, a tenth leaves."""
    chance = random.Random(seed)
    for _ in range(EACH if slowing is None else 100_000):
        gate = chance.choice(gates)
        rows = [chance.randrange(100) for _ in range(chance.choice([1, 4, 8]) if slowing is None else 1)]
        headers = {"X-API-Key": gate.key, **({"X-Request-Timeout-Ms": "3"} if chance.random() < 0.1 else {})}
        question = framed("POST", "/v2/models/digits/infer", headers, json.dumps({"inputs": [image(rows)]}).encode())
        asking = asyncio.ensure_future(ask(int(gate.http.rpartition(":")[2]), question))
        if chance.random() < 0.1:
            await asyncio.sleep(chance.random() * 0.02)
            asking.cancel()
        try:
            reply = await asking
        except asyncio.CancelledError:
            seen["left"] += 1
            continue
        seen[f"{reply.status}"] += 1
        seen[reply.headers.get("x-penstock-escalation", "")] += 1
        if slowing is not None:
            slowing.paid += float(reply.headers.get("x-penstock-cost", 0.0))
        if reply.status == 429:
            if b"has spent its cost" in reply.body:
                return
            seen["reserved"] += 1
            await asyncio.sleep(0.01)  # as Retry-After says, but shorter


async def spent(
    document: dict[str, Any], redis: Redis, folder: Path, slowing: Slowing | None = None
) -> tuple[float, dict[str, float], Counter[str]]:
    """What four processes have paid, what the account says of it, and what the clients have seen."""
    gates: list[GatewayProcess] = []
    try:
        for name in "ab":
            (folder / name).mkdir()
            settings = {"workers": 2, "store": redis.url}
            gates.append(await asyncio.to_thread(start_gateway, folder / name, document, "2s", settings))
        seen: Counter[str] = Counter()
        await asyncio.gather(*(client(gates, seed, seen, slowing) for seed in range(CLIENTS)))
        paid = sum(gate.metric("penstock_cost_total", model="digits") for gate in gates)
        (account,) = redis.told("--scan", "--pattern", "*spent*").split()
        told = redis.told("HGETALL", account).split()
    finally:
        for gate in gates:
            await asyncio.to_thread(gate.stop)
    return paid, dict(zip(told[::2], map(float, told[1::2]), strict=True)), seen


async def test_four_processes_spend_one_budget(backend: Server, redis: Redis, tmp_path: Path, figures: Figures) -> None:
    """What all of them have paid is what the account says; it is the whole sum, and no more."""
    paid, account, seen = await spent(policy(backend), redis, tmp_path)
    assert {"spent": paid, "held": 0.0} == account
    figures.at_most("Budgets, 4 processes", f"spent of {SUM:g}, {CLIENTS} clients at once", paid, SUM)
    assert paid >= SUM - 9, "the first stage of the largest question"
    assert min(seen[each] for each in ("200", "429", "left", "skipped;budget", "fast→accurate")) > 0, seen


async def test_time_and_tokens_overspend_by_one_reservation_at_most(
    backend: Server, redis: Redis, tmp_path: Path, figures: Figures
) -> None:
    """Nobody knows before what they cost; reserved is the most, and who holds less is alone. The sum is spent all the same."""
    backend.scripts["digits_fast"] = slowing = Slowing(backend)
    paid, account, seen = await spent(policy(backend, MEASURED, "500ms"), redis, tmp_path, slowing)
    assert pytest.approx(0.0, abs=1e-6) == account["held"]
    what = f"spent of {SUM:g} where time and tokens cost, {CLIENTS} clients at once"
    figures.at_most("Budgets, 4 processes", what, account["spent"], SUM + FIRST)
    assert account["spent"] <= paid * (1 + 1e-9), "but for what this process stood still it is what was paid"
    assert account["spent"] >= SUM - FIRST
    assert min(seen[each] for each in ("200", "429", "left", "reserved", "fast→accurate")) > 0, seen
