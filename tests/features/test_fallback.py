"""Fallbacks: another variant stands in for one that fails, and never for a client's own mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.features.oip_server import Script, failing, resetting, saying

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}
  gone: {protocol: triton-http, endpoints: ["127.0.0.1:9"]}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      balanced: {backend: triton, model: digits_balanced, cost: 6}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
      away: {backend: gone, model: digits_accurate, cost: 40}
    routes:
      - {name: away, match: {header: {x-use: away}}, use: away}
      - name: cascade
        match: {header: {x-use: cascade}}
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 1.0}, {use: accurate}]
      - {name: default, use: accurate}
    fallback: {accurate: balanced, balanced: fast, away: fast}
"""


@pytest.fixture
async def gate(start: Start) -> Running:
    """Accurate falls back on balanced, balanced on fast."""
    return await start(POLICY)


@pytest.mark.parametrize("script", [failing(500), failing(503), resetting, saying(b"garbage\r\n\r\n")])
async def test_a_failing_variant_is_stood_in_for(gate: Running, script: Script) -> None:
    """Whatever kind of outage: the client gets the fallback's answer and is told whose it is."""
    gate.backend.scripts["digits_accurate"] = script
    reply = await gate.infer([0])
    assert (200, "balanced", "digits_balanced", "none", "6") == (
        reply.status,
        *(reply.headers[each] for each in ("x-penstock-variant", "x-model-name", "x-penstock-escalation", "x-penstock-cost")),
    )
    assert 1 == (await gate.metrics())["penstock_fallbacks_total", ("digits", "accurate", "balanced")]


async def test_fallbacks_follow_each_other(gate: Running) -> None:
    """A chain is followed to its end; when all fail the client hears of the first."""
    gate.backend.scripts["digits_accurate"] = failing(503)
    gate.backend.scripts["digits_balanced"] = failing(500)
    assert "fast" == (await gate.infer([0])).headers["x-penstock-variant"]
    gate.backend.scripts["digits_fast"] = failing(500)
    assert (503, "overloaded") == (await gate.infer([0])).error


async def test_a_backend_that_is_gone(gate: Running) -> None:
    """A server that cannot be reached is stood in for, too."""
    assert "fast" == (await gate.infer([0], {"x-use": "away"})).headers["x-penstock-variant"]


async def test_a_stage_is_stood_in_for(gate: Running) -> None:
    """Within a cascade the fallback takes the failing stage's rows; a variant that answered twice is named once."""
    gate.backend.scripts["digits_accurate"] = failing(500)
    reply = await gate.infer([0, 1], {"x-use": "cascade"})
    assert [200, 201] == reply.output("label")
    assert "balanced" == reply.headers["x-penstock-variant"]
    gate.backend.scripts["digits_balanced"] = failing(500)
    reply = await gate.infer([0, 1], {"x-use": "cascade"})
    assert ("fast", "4") == (reply.headers["x-penstock-variant"], reply.headers["x-penstock-cost"])


async def test_a_client_s_mistake_falls_nowhere(gate: Running) -> None:
    """What the backend calls wrong would be wrong elsewhere."""
    gate.backend.scripts["digits_accurate"] = failing(400, "bad shape")
    reply = await gate.infer([0])
    assert ((400, "invalid"), "bad shape") == (reply.error, reply.json["error"])
    assert ["digits_accurate"] == [each.model for each in gate.backend.asked]
