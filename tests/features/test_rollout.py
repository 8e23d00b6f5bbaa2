"""Rollouts over real sockets: the candidate gets the share that was agreed, is judged by what it does, and is taken back."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.features.conftest import Reply, ask, framed
from tests.features.oip_server import failing

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"], breaker: {failures: 1000000}}
models:
  digits:
    timeout: 5s
    CACHE
    variants:
      live: {backend: triton, model: digits_fast, version: "1", cost: 1}
      next: {backend: triton, model: digits_balanced, cost: 2}
      other: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - name: cascade
        match: {header: {x-use: cascade}}
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: live, accept: 0.9}, {use: other}]
      - {name: aside, match: {header: {x-use: other}}, use: other}
      - {name: default, use: live}
    FALLBACK
    rollouts:
      live:
        candidate: next
        unit: UNIT
        proof: time
        steps: STEPS
        guards: [{metric: error-rate, max_increase: 0.5%}, {metric: latency-p99, max_increase: 20%}]
"""


def policy(steps: str = "[{weight: 50%, hold: 24h}]", unit: str = "request", fallback: str = "", cache: str = "") -> str:
    text = POLICY.replace("STEPS", steps).replace("UNIT", unit)
    return text.replace("FALLBACK", fallback).replace("CACHE", cache)


async def admin(gate: Running, method: str, path: str, body: bytes = b"", caller: str = "admin") -> Reply:
    headers = {**gate.credential(caller), "Content-Type": "application/json"}
    return await ask(gate.gateway.ports.admin.port, framed(method, path, headers, body))


async def act(gate: Running, verb: str, why: str = "") -> Any:
    reply = await admin(gate, "POST", f"/api/rollouts/digits/live/{verb}", json.dumps({"why": why}).encode())
    assert 200 == reply.status, reply.body
    return reply.json


async def shown(gate: Running) -> Any:
    return (await admin(gate, "GET", "/api/rollouts/digits/live")).json


async def round_of(gate: Running) -> Any:
    """One round of the leader, now."""
    assert gate.gateway.leads is not None
    await gate.gateway.leads.rollouts.round()
    return await shown(gate)


async def started(gate: Running) -> None:
    """Returns when the candidate has weight."""
    await act(gate, "start")
    while (await round_of(gate))["state"] == "warming":  # noqa: ASYNC110 - a round is what moves it
        await asyncio.sleep(0)


def candidates(replies: list[Reply]) -> int:
    return sum(reply.headers.get("x-penstock-variant") == "next" for reply in replies)


async def test_nothing_before_the_start(start: Start) -> None:
    """A rollout in the policy alone changes nothing."""
    gate = await start(policy())
    replies = [await gate.infer([index]) for index in range(20)]
    assert 0 == candidates(replies)
    found = await round_of(gate)
    assert ("pending", 0.0, "", "nobody has started it") == (found["state"], found["weight"], found["verdict"], found["text"])


async def test_a_share_of_the_requests(start: Start) -> None:
    """Once it is started the candidate answers about its share, wherever a route says `live`, and what it does is counted."""
    gate = await start(policy())
    await started(gate)
    replies = [await gate.infer([index]) for index in range(200)]
    assert 60 <= candidates(replies) <= 140
    found = await round_of(gate)
    assert ("running", 0.5, candidates(replies)) == (found["state"], found["weight"], found["samples"])
    metrics = await gate.metrics()
    assert 0.5 == metrics["penstock_rollout_weight", ("digits", "live")]
    cascades = [await gate.infer([index], {"x-use": "cascade"}) for index in range(40)]
    assert {"live", "next"} <= {reply.headers["x-penstock-variant"].partition("=")[0] for reply in cascades}
    asides = [await gate.infer([index], {"x-use": "other"}) for index in range(10)]
    assert {"other"} == {reply.headers["x-penstock-variant"] for reply in asides}
    samples = (await round_of(gate))["samples"]
    assert found["samples"] < samples <= found["samples"] + 40


async def test_a_unit_stays(start: Start) -> None:
    """All of a tenant's requests go to one side."""
    gate = await start(policy(unit="tenant"))
    await started(gate)
    for caller in ("free", "enterprise", "digits-only"):
        assert candidates([await gate.infer([index], caller=caller) for index in range(10)]) in (0, 10)


async def test_a_failing_candidate_is_taken_back(start: Start) -> None:
    """Weight zero within the round that has the evidence; the reason with its numbers stands in API, audit log and metrics."""
    gate = await start(policy())
    await started(gate)
    gate.backend.scripts["digits_balanced"] = failing(500)
    statuses = [(await gate.infer([index])).status for index in range(100)]
    assert 500 not in statuses
    found = await round_of(gate)
    assert ("rolled-back", 0.0) == (found["state"], found["weight"])
    assert "100 suffice" in found["text"]
    assert "error-rate" in found["text"]
    assert {200} == {(await gate.infer([index])).status for index in range(40)}
    metrics = await gate.metrics()
    assert 0.0 == metrics["penstock_rollout_weight", ("digits", "live")]
    await round_of(gate)
    ((_, labels),) = [each for each in await gate.metrics() if each[0] == "penstock_rollout_note"]
    assert ("harm", found["text"]) == labels[2:]
    assert 409 == (await admin(gate, "POST", "/api/rollouts/digits/live/promote")).status


async def test_a_fallback_hides_nothing(start: Start) -> None:
    """Clients are saved by who stands in, and the candidate is taken back all the same."""
    gate = await start(policy(fallback="fallback: {next: live}"))
    await started(gate)
    gate.backend.scripts["digits_balanced"] = failing(500)
    assert {200} == {(await gate.infer([index])).status for index in range(100)}
    assert "rolled-back" == (await round_of(gate))["state"]


def guarded(guard: str, shadow: str = "") -> str:
    """By this guard alone."""
    whole = "{metric: error-rate, max_increase: 0.5%}, {metric: latency-p99, max_increase: 20%}"
    text = re.sub(r"cost: (\d+)}", r"cost: \1, pure: true}", policy().replace(whole, guard))
    return text.replace("    rollouts:", f"    {shadow}\n    rollouts:") if shadow else text


async def test_a_candidate_that_says_otherwise(start: Start) -> None:
    """A shadow's comparisons are evidence: labels that the stable side itself does not change."""
    shadow = "shadows: [{name: s, of: live, to: next, fraction: 100%, compare: {label: exact}}]"
    gate = await start(guarded("{metric: disagreement, max: 2%}", shadow))
    await started(gate)
    digits = itertools.cycle(range(300))
    async with asyncio.timeout(20):
        while "rolled-back" != (found := await round_of(gate))["state"]:  # what a busy machine does not mirror is no evidence
            for index in itertools.islice(digits, 20):
                await gate.infer([index])
    assert "disagreement: " in found["notes"][-1]["text"]


async def test_a_candidate_that_nobody_can_read(start: Start) -> None:
    """Its answers are none: tensors that do not hold what their shapes say, though the status was 200."""
    gate = await start(guarded("{metric: unparseable-rate}"))
    await started(gate)
    gate.backend.scripts["digits_balanced"] = failing(200, body=b'{"model_name": "digits_balanced", "outputs": [{"name": 1}]}')
    for index in range(60):
        await gate.infer([index])
    found = await round_of(gate)
    assert ("rolled-back", True) == (found["state"], "unparseable-rate: " in found["text"])


async def test_a_guardrail_that_no_answer_has(start: Start) -> None:
    """Is an error and no pass: no step ends."""
    gate = await start(guarded("{metric: guardrail-rate, output: flagged}").replace("hold: 24h", "samples: 10"))
    await started(gate)
    for index in range(300):
        await gate.infer([index])
    found = await round_of(gate)
    assert ("running", "unmeasured", 0.5) == (found["state"], found["verdict"], found["weight"])
    assert "never reported: guardrail-rate" == found["text"]


async def test_an_identical_outage_is_nobodys(start: Start) -> None:
    """When both sides fail alike the candidate stays."""
    gate = await start(policy())
    await started(gate)
    gate.backend.scripts["digits_balanced"] = gate.backend.scripts["digits_fast"] = failing(500)
    for index in range(200):
        await gate.infer([index])
    assert (await round_of(gate))["state"] in ("running", "frozen")


async def test_kept_answers_do_not_count(start: Start) -> None:
    """A tenth of all questions passes the cache and counts, by chance; the others are answered from what is kept."""
    gate = await start(policy("[{weight: 50%, hold: 24h}]", cache="cache: {ttl: 1m}"))
    await started(gate)
    told = [(await gate.infer([7])).headers["cache-status"] for _ in range(100)]
    passed = sum("rollout" in each for each in told)
    assert 100 > passed + sum("hit" in each for each in told) >= 98  # each side misses once
    assert (await round_of(gate))["samples"] <= passed < 50


async def test_a_rollback_holds_for_kept_answers(start: Start) -> None:
    """A question whose hits were the candidate's is the stable side's at once, however often it came."""
    gate = await start(policy("[{weight: 100%}]", unit="tenant", cache="cache: {ttl: 1m}"))
    await started(gate)
    assert {"next"} == {(await gate.infer([7])).headers["x-penstock-variant"] for _ in range(5)}
    await act(gate, "rollback")
    assert {"live"} == {(await gate.infer([7])).headers["x-penstock-variant"] for _ in range(5)}


async def test_verbs(start: Start) -> None:
    """Pause, resume, promote and rollback do what they say, by name; a new start is another attempt."""
    gate = await start(policy("[{weight: 10%, hold: 24h}, {weight: 50%, hold: 24h}]"))
    await started(gate)
    assert "paused" == (await act(gate, "pause"))["state"]
    assert "running" == (await act(gate, "resume"))["state"]
    further = await act(gate, "promote")
    assert ("running", 0.5) == (further["state"], further["weight"])
    done = await act(gate, "promote", "all is well")
    assert ("promoted", 1.0) == (done["state"], done["weight"])
    assert {"next"} == {(await gate.infer([index])).headers["x-penstock-variant"] for index in range(10)}
    back = await act(gate, "rollback", "no")
    assert ("rolled-back", "admin", "admin said rollback: no") == (
        back["state"],
        back["notes"][-1]["who"],
        back["notes"][-1]["text"],
    )
    assert 0 == candidates([await gate.infer([index]) for index in range(10)])
    again = await act(gate, "start")
    assert (2, "warming") == (again["attempt"], again["state"])


async def test_a_candidate_that_does_not_fit(start: Start) -> None:
    """Gets no weight at all: it fails where the stable side answers."""
    gate = await start(policy())
    gate.backend.scripts["digits_balanced"] = failing(500)
    await started(gate)
    found = await shown(gate)
    assert ("rolled-back", 0.0) == (found["state"], found["weight"])
    assert "fails where live answers" in found["text"]


async def test_a_restart_goes_on(start: Start, tmp_path: Path) -> None:
    """Weight, evidence and attempt are as they were, before the first request."""
    gate = await start(policy(), state=str(tmp_path / "state"))
    await started(gate)
    for index in range(50):
        await gate.infer([index])
    before = await round_of(gate)
    again = await start(policy(), state=str(tmp_path / "state"))
    after = await shown(again)
    for name in ("state", "weight", "samples", "attempt", "odds", "guards"):
        assert before[name] == after[name], name
    assert candidates([await again.infer([index]) for index in range(50)])
    lines = (tmp_path / "state" / "audit.jsonl").read_bytes().splitlines()
    assert b"rollout start" in b"".join(lines)


async def test_a_reload_that_does_not_touch_it(start: Start) -> None:
    """Changes nothing about it; one that edits it begins anew, without weight."""
    gate = await start(policy())
    await started(gate)
    replies = [await gate.infer([index]) for index in range(20)]
    await gate.reload(policy().replace("cost: 40", "cost: 50"))
    found = await round_of(gate)
    assert ("running", candidates(replies)) == (found["state"], found["samples"])
    await gate.reload(policy().replace("0.5%", "1%"))
    found = await round_of(gate)
    assert ("pending", 0.0, 2) == (found["state"], found["weight"], found["attempt"])


@pytest.mark.parametrize(
    ("method", "path", "caller", "status"),
    [
        ("GET", "/api/rollouts/digits/nobody", "admin", 404),
        ("POST", "/api/rollouts/digits/nobody/start", "admin", 404),
        ("POST", "/api/rollouts/digits/live/resume", "admin", 409),
        ("POST", "/api/rollouts/digits/live/explode", "admin", 404),
        ("GET", "/api/rollouts/digits/live/start", "admin", 405),
        ("POST", "/api/rollouts/digits/live/start", "free", 403),
    ],
)
async def test_refusals(start: Start, method: str, path: str, caller: str, status: int) -> None:
    """Unknown rollouts, verbs that cannot be, and people who may not."""
    gate = await start(policy())
    assert status == (await admin(gate, method, path, caller=caller)).status
