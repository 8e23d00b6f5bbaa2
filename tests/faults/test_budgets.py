"""A budget that four processes share through Redis, with clients that leave and questions that are too late: spent to the last,
never beyond."""

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
from tests.features.oip_server import Server
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


def policy(backend: Server) -> dict[str, Any]:
    """Two prices, one cascade, one budget for each tenant."""
    variants = {
        "fast": {"backend": "triton", "model": "digits_fast", "cost": {"call": 1, "row": 1}},
        "accurate": {"backend": "triton", "model": "digits_accurate", "cost": 10},
    }
    cascade = {"confidence": {"output": "probabilities", "metric": "max-softmax"}, "stages": STAGES}
    model = {"timeout": "5s", "variants": variants, "routes": [{"name": "default", "cascade": cascade}]}
    return {
        "version": 1,
        "backends": {"triton": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{backend.port}"]}},
        "models": {"digits": model},
        "limits": [{"name": "own", "per": "tenant", "cost": f"{SUM:g}/day"}],
    }


async def client(gates: list[GatewayProcess], seed: int, seen: Counter[str]) -> None:
    """Asks one after the other; a tenth has 3 ms only, a tenth leaves."""
    chance = random.Random(seed)
    for _ in range(EACH):
        gate = chance.choice(gates)
        rows = [chance.randrange(100) for _ in range(chance.choice([1, 4, 8]))]
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


async def test_four_processes_spend_one_budget(backend: Server, redis: Redis, tmp_path: Path, figures: Figures) -> None:
    """What all of them have paid is what the account says; it is the whole sum, and no more."""
    gates: list[GatewayProcess] = []
    try:
        for name in "ab":
            (tmp_path / name).mkdir()
            settings = {"workers": 2, "store": redis.url}
            gates.append(await asyncio.to_thread(start_gateway, tmp_path / name, policy(backend), "2s", settings))
        seen: Counter[str] = Counter()
        await asyncio.gather(*(client(gates, seed, seen) for seed in range(CLIENTS)))
        paid = sum(gate.metric("penstock_cost_total", model="digits") for gate in gates)
        (account,) = redis.told("--scan", "--pattern", "*spent*").split()
        told = redis.told("HGETALL", account).split()
    finally:
        for gate in gates:
            await asyncio.to_thread(gate.stop)
    assert {"spent": paid, "held": 0.0} == dict(zip(told[::2], map(float, told[1::2]), strict=True))
    figures.at_most("Budgets, 4 processes", f"spent of {SUM:g}, {CLIENTS} clients at once", paid, SUM)
    assert paid >= SUM - 9, "the first stage of the largest question"
    assert min(seen[each] for each in ("200", "429", "left", "skipped;budget", "fast→accurate")) > 0, seen
