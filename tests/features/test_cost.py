"""Cost: by ask, row and token, told to the client, counted for Prometheus, reserved and settled against budgets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.features.conftest import ask, framed, packed, until
from tests.features.oip_server import Waiting, failing
from tests.real_parts import Redis

if TYPE_CHECKING:
    from tests.features.conftest import Reply, Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: {call: 2, row: 1}}
      accurate: {backend: triton, model: digits_accurate, cost: {row: 10, token: 0.1, tokens: label, most_tokens: 400}}
    routes:
      - {name: dear, match: {header: {x-use: dear}}, use: accurate}
      - {name: cheap, match: {header: {x-use: cheap}}, use: fast}
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
    MORE
"""
DEAR, CHEAP = {"X-Use": "dear"}, {"X-Use": "cheap"}


def policy(more: str = "", limits: str = "", route: str = "") -> str:
    text = POLICY.replace("MORE", more) + (f"limits: [{limits}]\n" if limits else "")
    return text.replace("{use: accurate}]", f"{{use: accurate}}]\n          {route}") if route else text


def cost(reply: Reply) -> float:
    return float(reply.headers["x-penstock-cost"])


async def savings(gate: Running, caller: str = "admin") -> Any:
    request = framed("GET", "/api/savings", gate.credential(caller))
    reply = await ask(gate.gateway.ports.admin.port, request)
    return reply.json if reply.status == 200 else reply.status


async def test_every_part_is_told_and_counted(start: Start) -> None:
    """Asks, rows and tokens; the output that tells tokens is not the client's business if it did not ask for it."""
    gate = await start(policy())
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    assert 2 + 3 == cost(await gate.infer([0, 2, 3], CHEAP))
    reply = await gate.infer([4, 5], DEAR, outputs=[{"name": "probabilities"}])
    assert pytest.approx(20 + 0.1 * (304 + 305)) == cost(reply)
    assert ["probabilities"] == [each["name"] for each in reply.json["outputs"]]
    both = await gate.infer([0, 1])
    assert "fast→accurate" == both.headers["x-penstock-escalation"]
    assert pytest.approx(2 + 2 + 10 + 0.1 * 301) == cost(both)
    body, headers = packed([6], outputs=[{"name": "probabilities", "parameters": {"binary_data": True}}])
    binary = await gate.ask("POST", "/v2/models/digits/infer", body, {**headers, **DEAR})
    assert pytest.approx(40.6) == cost(binary)
    assert ["probabilities"] == [each["name"] for each in binary.json["outputs"]]
    metrics = await gate.metrics()
    assert 5 + 4 == metrics["penstock_cost_total", ("digits", "fast")]
    assert pytest.approx(80.9 + 40.1 + 40.6) == metrics["penstock_cost_total", ("digits", "accurate")]
    assert (2, 5) == tuple(metrics[f"penstock_{name}_total", ("digits", "fast")] for name in ("asks", "asked_rows"))
    question = pb.ModelInferRequest(model_name="digits", raw_input_contents=[np.zeros((1, 4), "<f4").tobytes()])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    call = gate.stub().ModelInfer(question, metadata=[("x-api-key", gate.keys["free"]), ("x-use", "dear")])
    await call
    assert "40" == dict(await call.initial_metadata())["x-penstock-cost"]


async def test_savings(start: Start) -> None:
    """Of rows that were kept, of the cascade and of the cheap route, against the dearest for that question; for operators."""
    gate = await start(policy("cache: {ttl: 1m, rows: true}"))
    dear = cost(await gate.infer([0], DEAR))
    for _ in range(2):
        await gate.infer([1, 2], CHEAP)
    await gate.infer([1, 2, 3, 4], CHEAP)
    await gate.infer([7, 8])
    found = await savings(gate)
    (model,) = found["models"]
    parts = model["parts"]
    assert (5, 0.0) == (model["requests"], model["beside"])
    assert (2 + 2) + (2 + 2) == parts["route"]["cost"] - dear
    assert 4 == parts["cascade"]["cost"]
    assert 0 == parts["cache"]["cost"] < parts["cache"]["baseline"]
    # Each of its rows costs 10 and, by what it has taken until now, 30 of tokens: 2 and 2 of rows that were kept.
    assert pytest.approx(2 * 40 + 2 * 40) == parts["cache"]["baseline"]
    assert pytest.approx(sum(each["saved"] for each in parts.values())) == model["saved"] == found["saved"]
    assert [("accurate", 1, 1), ("fast", 3, 6)] == [
        (each["variant"], each["asks"], each["asked_rows"]) for each in model["variants"]
    ]
    assert [403, 401] == [await savings(gate, caller) for caller in ("free", "")]


async def test_a_budget(start: Start) -> None:
    """429 when it is spent, in the client's own words; what is kept is given all the same; a day later it begins anew."""
    gate = await start(policy("cache: {ttl: 1m}", "{name: own, match: {tier: free}, per: tenant, cost: 12/day, requests: 99/s}"))
    first = await gate.infer([0, 1, 2], CHEAP)
    assert '"own";q=99;w=1, "own:cost";q=12;w=86400;qu="cost"' == first.headers["ratelimit-policy"]
    assert first.headers["ratelimit"].startswith('"own:cost";r=7;t=')
    assert 200 == (await gate.infer([3, 4, 5], CHEAP)).status
    refused = await gate.infer([6], CHEAP)
    assert (429, "limited") == refused.error
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert "limit 'own' has spent its cost of 12 a day, of which 2 is left, and this question costs 3" in refused.json["error"]
    assert refused.headers["ratelimit"].startswith('"own:cost";r=2;t=')
    kept = await gate.infer([0, 1, 2], CHEAP)
    assert (200, 0) == (kept.status, cost(kept))
    assert 200 == (await gate.infer([6], CHEAP, caller="enterprise")).status
    assert 1 == (await gate.metrics())["penstock_limited_total", ("own",)]
    question = pb.ModelInferRequest(model_name="digits", raw_input_contents=[np.ones((1, 4), "<f4").tobytes()])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    call = gate.stub().ModelInfer(question, metadata=[("x-api-key", gate.keys["free"]), ("x-use", "cheap")])
    assert "RESOURCE_EXHAUSTED" == (await call.code()).name


async def test_budgets_of_escalation(start: Start) -> None:
    """A tenant's rows, a cascade's share, what is left of a budget: rows keep the answer they have, and the header says so."""
    gate = await start(policy(limits="{per: tenant, escalations: 3/day}"))
    gate.backend.confidence = {"digits_fast": dict.fromkeys(range(10), 0.5)}
    told = [(await gate.infer([1, 2])).headers["x-penstock-escalation"] for _ in range(2)]
    assert ["fast→accurate", "skipped;budget"] == told
    await gate.reload(policy(limits="{match: {tier: other}, cost: 4/day}", route="budget: {share: 1%}"))
    told = [(await gate.infer([1, 2, 3])).headers["x-penstock-escalation"] for _ in range(2)]
    assert ["fast→accurate", "skipped;budget"] == told
    await gate.reload(policy(limits="{per: tenant, cost: 20/hour}"))
    reply = await gate.infer([1])
    assert (200, "skipped;budget", 3) == (reply.status, reply.headers["x-penstock-escalation"], cost(reply))
    metrics = await gate.metrics()
    assert 3 == metrics["penstock_escalations_total", ("digits", "fast", "accurate", "budget")]


async def test_who_leaves_has_paid(start: Start) -> None:
    """What a backend has in hand is paid, whoever waits for it; what it refuses is not."""
    gate = await start(policy(limits="{name: own, per: tenant, cost: 10/day}"))
    gate.backend.scripts["digits_fast"] = failing(500)
    assert [502] * 5 == [(await gate.infer([0], CHEAP)).status for _ in range(5)]
    gate.backend.scripts["digits_fast"] = waiting = Waiting()
    leaving = asyncio.ensure_future(gate.infer([0, 1], CHEAP))
    await waiting.entered.wait()
    leaving.cancel()
    await waiting.left.wait()
    gate.backend.scripts.clear()
    await until(lambda: gate.gateway.metrics.costs.cost.cell("digits", "fast").value == 4.0)
    reply = await gate.infer([0, 1], CHEAP)
    assert (200, '"own:cost";r=2') == (reply.status, reply.headers["ratelimit"].partition(";t")[0])
    assert 429 == (await gate.infer([0], CHEAP)).status
    assert 4 == (await savings(gate))["models"][0]["beside"]


@pytest.mark.slow
async def test_gateways_of_one_redis_spend_together(start: Start, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One's questions are the other's."""
    text = policy(limits="{name: own, per: tenant, cost: 12/day}")
    one, two = await start(text, store=redis.url), await start(text, store=redis.url)
    told = [(await gate.infer([0, 1], CHEAP)).status for gate in (one, two, one, two)]
    assert [200, 200, 200, 429] == told
    assert json.loads((await one.infer([0], CHEAP)).body)["error"].startswith("limit 'own' has spent its cost of 12 a day")
