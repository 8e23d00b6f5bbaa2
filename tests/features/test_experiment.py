"""A/B tests over real sockets: two variants, clients tell later what came of their requests, the report shows the effect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from routing.rollout.units import Holdout, holding
from tests.features.conftest import CALLERS, Reply, ask, framed, run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.features.conftest import Running, Start
    from tests.real_parts import Redis

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}
models:
  digits:
    timeout: 5s
    variants:
      live: {backend: triton, model: digits_fast, version: "1"}
      next: {backend: triton, model: digits_balanced}
    routes: [{name: default, use: live}]
    rollouts:
      live:
        candidate: next
        unit: UNIT
        proof: person
        steps: [{weight: 50%, samples: 100}]
        guards: [{metric: error-rate}]
        alpha: 5%
        feedback: [{metric: bought}, {metric: stars, of: told, low: 1, high: 5}, {metric: mood, labels: {good: 1, bad: -1}}]
"""


def policy(unit: str = "request") -> str:
    return POLICY.replace("UNIT", unit)


async def started(gate: Running) -> None:
    request = framed("POST", "/api/rollouts/digits/live/start", gate.credential("admin"))
    assert 200 == (await ask(gate.gateway.ports.admin.port, request)).status
    assert gate.gateway.leads is not None
    while (await shown(gate))["state"] != "running":
        await gate.gateway.leads.rollouts.round()


async def shown(gate: Running) -> Any:
    request = framed("GET", "/api/experiments/digits/live", gate.credential("admin"))
    return (await ask(gate.gateway.ports.admin.port, request)).json


async def tell(gate: Running, items: Iterable[dict[str, Any]], caller: str = "shop") -> Reply:
    return await gate.ask("POST", "/v2/feedback", json.dumps({"feedback": list(items)}).encode(), caller=caller)


async def outcomes(gate: Running) -> dict[str, float]:
    """What became of all that was told, also of what is looked for in later rounds."""
    for _ in range(4):
        await shown(gate)
    return {labels[0]: value for (name, labels), value in (await gate.metrics()).items() if name == "penstock_feedback_total"}


async def test_the_report_shows_the_effect(start: Start) -> None:
    """Whose request the candidate answered buys nine times in ten, of others one in ten; half of both give as many stars."""
    gate = await start(policy())
    await started(gate)
    told: list[dict[str, Any]] = []
    sides = [0, 0]
    for index in range(160):
        reply = await gate.infer([index])
        mine = reply.headers["x-penstock-variant"] == "next"
        sides[mine] += 1
        request = reply.headers["x-request-id"]
        if sides[mine] % 10 == 0 or (mine and sides[mine] % 10 != 1):
            told.append({"request": request, "metric": "bought"})
        if index % 2:
            told.append({"request": request, "metric": "stars", "value": 1 if index % 4 == 1 else 5})
    assert {"accepted": len(told)} == (await tell(gate, told)).json
    found = await shown(gate)
    bought, stars, mood = found["metrics"]
    assert ("running", sides) == (found["state"], found["drawn"])
    assert ("more", sides) == (bought["found"], bought["of"])
    assert 0 < bought["low"] < bought["difference"] < bought["high"]
    assert 80 == sum(stars["of"])
    assert all(2.0 < mean < 4.0 for mean in stars["means"])
    assert ("open", "insufficient") == (stars["found"], mood["found"])
    assert {"joined": len(told)} == await outcomes(gate)


async def test_what_cannot_be_joined_is_counted_by_its_reason(start: Start) -> None:
    """Who tells twice, of nothing, of another tenant's request or what cannot be is answered alike, and has changed nothing."""
    gate = await start(policy())
    await started(gate)
    request = (await gate.infer([1])).headers["x-request-id"]
    one = {"request": request, "metric": "bought", "value": False}
    assert 200 == (await tell(gate, [one, {**one, "value": True}, {**one, "request": "never-was"}])).status
    assert 200 == (await tell(gate, [{**one, "metric": "stars", "value": 4}], "other-shop")).status
    assert 200 == (await tell(gate, [{**one, "metric": "stars", "value": 9}, {**one, "metric": "sold"}])).status
    assert {"joined": 1, "duplicate": 1, "unknown": 2, "value": 1, "metric": 1} == await outcomes(gate)
    bought = (await shown(gate))["metrics"][0]
    assert [0.0] == [mean for mean in bought["means"] if mean is not None]


@pytest.mark.parametrize(
    ("body", "caller", "status"),
    [
        (b'{"request": "a", "metric": "bought"}', "free", 403),
        (b'{"request": "a", "metric": "bought"}', "", 401),
        (b'{"request": "a"}', "shop", 400),
        (b'{"request": "a", "metric": "bought", "arm": "next"}', "shop", 400),
        (b'{"feedback": []}', "shop", 400),
        (b"[" * 60_000, "shop", 400),
        (b" " * 70_000, "shop", 413),
    ],
)
async def test_refusals(start: Start, body: bytes, caller: str, status: int) -> None:
    """Without the scope, without a request, with more than there may be."""
    gate = await start(policy())
    assert status == (await gate.ask("POST", "/v2/feedback", body, caller=caller)).status


async def test_a_tenant_counts_once_by_what_is_told_first(start: Start) -> None:
    """However many requests it makes: one unit, one value."""
    gate = await start(policy("tenant"))
    await started(gate)
    requests = [(await gate.infer([index])).headers["x-request-id"] for index in range(6)]
    await tell(gate, [{"request": each, "metric": "bought"} for each in requests])
    assert {"joined": 1, "later": 5} == await outcomes(gate)
    found = await shown(gate)
    assert 1 == sum(found["drawn"])
    assert "insufficient" == found["metrics"][0]["found"]


async def test_a_restart_keeps_what_was_joined(start: Start, tmp_path: Path) -> None:
    """With a state folder; what was answered before it is not known any more, and is said to be unknown."""
    gate = await start(policy(), state=str(tmp_path / "state"))
    await started(gate)
    requests = [(await gate.infer([index])).headers["x-request-id"] for index in range(8)]
    await tell(gate, [{"request": each, "metric": "bought"} for each in requests[:4]])
    await gate.gateway.leads.experiments.end()  # type: ignore[union-attr]  # a gateway that is no worker has them
    before = await shown(gate)
    again = await start(policy(), state=str(tmp_path / "state"))
    assert before == await shown(again)
    await tell(again, [{"request": each, "metric": "bought"} for each in requests[4:]])
    assert {"unknown": 4} == await outcomes(again)


async def test_who_is_held_out_meets_no_candidate(start: Start) -> None:
    """Nor counts on any side, also where the candidate was promoted; everybody else goes on."""
    held, tenants = holding(Holdout(0.5, "tenant")), {name: tenant for name, (tenant, *_) in CALLERS.items()}
    out, others = (
        [name for name in ("free", "enterprise", "digits-only") if held(tenants[name]) is each] for each in (True, False)
    )
    assert out
    assert others
    gate = await start(policy() + "holdout: {share: 50%}\n")
    await started(gate)
    for verb in ("", "promote"):
        if verb:
            path = f"/api/rollouts/digits/live/{verb}"
            assert 200 == (await ask(gate.gateway.ports.admin.port, framed("POST", path, gate.credential("admin")))).status
        met = {
            name: {(await gate.infer([index], caller=name)).headers["x-penstock-variant"] for index in range(20)}
            for name in (out[0], others[0])
        }
        assert {"live"} == met[out[0]]
        assert ({"next"} if verb else {"live", "next"}) == met[others[0]]
    assert 20 == sum((await shown(gate))["drawn"])


async def test_thumbs_down_take_a_candidate_back(start: Start) -> None:
    """Whatever else it does well: the guard of that name bets on what was told."""
    text = policy().replace("{metric: error-rate}", "{metric: error-rate}, {metric: thumbs-down}")
    gate = await start(text.replace("{metric: bought}", "{metric: thumbs-down, of: told}"))
    await started(gate)
    told = []
    for index in range(80):
        reply = await gate.infer([index])
        bad = reply.headers["x-penstock-variant"] == "next"
        told.append({"request": reply.headers["x-request-id"], "metric": "thumbs-down", "value": bad})
    await tell(gate, told)
    assert {"joined": 80} == await outcomes(gate)
    assert gate.gateway.leads is not None
    await gate.gateway.leads.rollouts.round()
    found = await shown(gate)
    assert ("rolled-back", "more") == (found["state"], found["metrics"][0]["found"])


@pytest.mark.slow
async def test_gateways_of_one_store(tmp_path: Path, redis: Redis) -> None:
    """Whichever is told of a request, the one that answered it joins it; each reports what all have come to."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    gates = [await run(tmp_path / name, policy(), store=redis.url) for name in ("one", "two")]
    try:
        await started(gates[0])
        while ["running"] * 2 != [(await shown(gate))["state"] for gate in gates]:
            for gate in gates:
                assert gate.gateway.leads is not None
                await gate.gateway.leads.rollouts.round()
        told: list[list[dict[str, Any]]] = [[], []]
        for index in range(40):
            reply = await gates[index % 2].infer([index])
            told[(index // 2) % 2].append({"request": reply.headers["x-request-id"], "metric": "bought"})
        for gate, items in zip(gates, told, strict=True):
            assert {"accepted": 20} == (await tell(gate, items)).json
        found = [[await outcomes(gate) for gate in gates] for _ in range(3)][-1]
        assert [{"joined": 20, "passed": 10}] * 2 == found
        reports = [await shown(gate) for gate in gates]
        assert [(2, 40, [1.0, 1.0])] * 2 == [
            (each["gateways"], sum(each["drawn"]), each["metrics"][0]["means"]) for each in reports
        ]
        assert 40 == sum(reports[0]["drawn"])
    finally:
        for gate in gates:
            await gate.stop()
