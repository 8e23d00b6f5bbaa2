"""Audits over real sockets: a share of the kept rows is asked of the dearest model beside the answer, and the alarm is obeyed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.features.conftest import ask, framed, until
from tests.features.oip_server import Script, Waiting, failing, resetting

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40, pure: true}
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
          audit: {share: 100%, MORE}
"""
KEY = ("digits", "default")


def policy(more: str = "promise: 99%") -> str:
    return POLICY.replace("MORE", more)


def outcomes(gate: Running) -> dict[str, int]:
    """What became of every audited request so far."""
    families = text_string_to_metric_families(gate.gateway.metrics.exposition().decode())
    samples = [each for family in families for each in family.samples if each.name == "penstock_audit_total"]
    return {each.labels["outcome"]: int(each.value) for each in samples}


def asked(gate: Running) -> list[tuple[str, list[int]]]:
    return [(each.model, each.rows) for each in gate.backend.asked]


async def judged(gate: Running) -> Any:
    """The only audit, as the API shows it, after a round."""
    assert gate.gateway.leads is not None
    (report,) = await gate.gateway.leads.audits.shown()
    return report


async def drifted(gate: Running) -> None:
    """Asks until the alarm: the labels of the two models are never the same."""
    for _ in range(12):
        await gate.infer([3])
    await until(lambda: sum(outcomes(gate).values()) >= 12)
    assert "watching" != (await judged(gate)).state


async def test_kept_rows_are_asked_about_again(start: Start) -> None:
    """Those that were kept, in one question, only what is compared; the client has what it always had, and pays nothing more."""
    gate = await start(policy())
    gate.backend.confidence = {"digits_fast": {4: 0.2}}
    reply = await gate.infer([5, 4, 9])
    await until(lambda: bool(outcomes(gate)))
    assert [("digits_fast", [5, 4, 9]), ("digits_accurate", [4]), ("digits_accurate", [5, 9])] == asked(gate)
    assert ["probabilities"] == [each["name"] for each in gate.backend.asked[2].head["outputs"]]
    said = [reply.headers[f"x-penstock-{name}"] for name in ("variant", "cost")]
    assert (200, ["fast=2,accurate=1", "43"]) == (reply.status, said)
    assert {"same": 1} == outcomes(gate)
    found = await judged(gate)
    assert ("watching", 1, 2, 0, 80.0) == (found.state, found.requests, found.rows, found.different, found.cost)
    metrics = await gate.metrics()
    assert 1 == metrics["penstock_audit_total", ("digits", "default", "same")]
    assert 80 == metrics["penstock_audit_cost_total", ("digits", "default")]
    assert 0.01 == pytest.approx(metrics["penstock_audit_promised_rate", ("digits", "default")])
    assert 43 == sum(value for (name, _), value in metrics.items() if name == "penstock_cost_total")


async def test_outputs_that_the_client_does_not_want(start: Start) -> None:
    """What is compared is asked for all the same, and kept from the client."""
    gate = await start(policy())
    reply = await gate.infer([5], outputs=[{"name": "label"}])
    await until(lambda: bool(outcomes(gate)))
    assert ["label"] == [each["name"] for each in reply.json["outputs"]]
    assert {"same": 1} == outcomes(gate)


async def test_the_alarm_and_the_dearest_stage_alone(start: Start) -> None:
    """It is told everywhere; a reload changes nothing; other thresholds, or a person, let the cascade answer again."""
    gate = await start(policy("label: label, on_alarm: dear"))
    await drifted(gate)
    reply = await gate.infer([3])
    assert ([303], "accurate", "none", "40") == (
        reply.output("label"),
        *(reply.headers[f"x-penstock-{name}"] for name in ("variant", "escalation", "cost")),
    )
    metrics = await gate.metrics()
    assert [1, 1] == [metrics[f"penstock_audit_{name}", KEY] for name in ("alarm", "fallen")]
    found = await judged(gate)
    assert ("fallen", "accurate") == (found.state, found.dear)
    assert "penstock calibrate" in found.suggestion
    assert found.rate.low > 0.5
    text = policy("label: label, on_alarm: dear, queue: 9") + "limits: [{requests: 1000/s}]\n"
    await gate.reload(text)
    assert [303] == (await gate.infer([3])).output("label")
    await gate.reload(text.replace("0.9", "0.95"))
    assert [103] == (await gate.infer([3])).output("label")
    assert ("watching", "") == ((again := await judged(gate)).state, again.alarm)


async def test_only_reported(start: Start) -> None:
    """Without `on_alarm: dear` the cascade goes on; the API ends the alarm, which needs a credential."""
    gate = await start(policy("label: label"))
    await drifted(gate)
    assert [103] == (await gate.infer([3])).output("label")
    port, admin = gate.gateway.ports.admin.port, gate.credential("admin")
    shown = (await ask(port, framed("GET", "/api/audits/digits/default", admin))).json
    assert ("alarm", True) == (shown["state"], shown["evidence"] >= 1)
    body = json.dumps({"why": "labels were changed"}).encode()
    ended = await ask(port, framed("POST", "/api/audits/digits/default/resume", admin, body))
    assert (200, "watching", 0) == (ended.status, ended.json["state"], ended.json["requests"])
    other = await ask(port, framed("POST", "/api/audits/digits/no/resume", admin))
    assert (404, 401) == (other.status, (await ask(port, framed("GET", "/api/audits", {}))).status)


async def test_a_fall_does_not_outlive_itself_in_the_cache(start: Start) -> None:
    """What the dearest stage answers alone is kept for as long as it does; what the cascade had kept is not given meanwhile, and
    is there again afterwards."""
    gate = await start(policy("label: label, on_alarm: dear").replace("timeout: 5s", "timeout: 5s\n    cache: {ttl: 10m}"))
    for row in range(12):
        await gate.infer([row])
    await until(lambda: sum(outcomes(gate).values()) >= 12)
    assert "fallen" == (await judged(gate)).state

    async def told(row: int) -> tuple[list[int], str]:
        reply = await gate.infer([row])
        return reply.output("label"), reply.headers["cache-status"].split("; ")[1].partition("=")[0]

    assert [([303], "fwd"), ([303], "hit"), ([303], "hit"), ([350], "fwd")] == [await told(row) for row in (3, 3, 3, 50)]
    admin = gate.credential("admin")
    resume = framed("POST", "/api/audits/digits/default/resume", admin, b'{"why": "labels were changed"}')
    assert 200 == (await ask(gate.gateway.ports.admin.port, resume)).status
    assert [([103], "hit"), ([150], "fwd"), ([150], "hit")] == [await told(row) for row in (3, 50, 50)]


@pytest.mark.parametrize("script", [failing(500), resetting])
async def test_a_dead_dearest_stage(start: Start, script: Script) -> None:
    """Costs nobody an answer; it is counted, and says nothing of the rate."""
    gate = await start(policy())
    gate.backend.scripts["digits_accurate"] = script
    assert [200] * 8 == [(await gate.infer([3])).status for _ in range(8)]
    await until(lambda: sum(outcomes(gate).values()) >= 8)
    assert {"error"} == set(outcomes(gate))
    assert (0, 8) == ((found := await judged(gate)).requests, found.dropped)


async def test_a_dearest_stage_that_hangs(start: Start) -> None:
    """Ends at the audit's own deadline; what finds no room meanwhile is dropped, and clients never wait."""
    gate = await start(policy("timeout: 300ms, max_in_flight: 1, queue: 1"))
    gate.backend.scripts["digits_accurate"] = hanging = Waiting()
    assert [200] * 4 == [(await gate.infer([3])).status for _ in range(4)]
    await hanging.entered.wait()
    assert 2 == outcomes(gate)["queue-full"]
    await until(lambda: "timeout" in outcomes(gate))


async def test_the_end_does_not_wait_for_audits(start: Start) -> None:
    """A gateway that stops abandons what is asked for an audit."""
    gate = await start(policy())
    gate.backend.scripts["digits_accurate"] = hanging = Waiting()
    await gate.infer([3])
    await hanging.entered.wait()
    account = gate.gateway.audits.accounts[KEY]
    await gate.gateway.stop()
    assert ({"abandoned": 1}, 0, 0) == (outcomes(gate), account.running, account.held)


async def test_audits_have_no_mirrors_and_mirrors_no_audits(start: Start) -> None:
    """One question with a shadow and an audit: the primary, its mirror twice, and one audit."""
    shadows = "    shadows: [{name: dark, fraction: 100%, of: fast, to: accurate}]\n"
    text = policy().replace("cost: 1}", "cost: 1, pure: true}") + shadows
    gate = await start(text)
    await gate.infer([3])
    await until(lambda: len(gate.backend.asked) == 4 and bool(outcomes(gate)))
    assert ["digits_accurate"] * 2 + ["digits_fast"] * 2 == sorted(each.model for each in gate.backend.asked)


async def test_who_is_exempt(start: Start) -> None:
    """By tenant; it is counted."""
    gate = await start(policy("except: {tenant: acme}"))
    await gate.infer([3])
    assert {"spared": 1} == outcomes(gate)
