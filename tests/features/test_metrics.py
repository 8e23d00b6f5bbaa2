"""Metrics: the documented names and labels, with exact counts, and no label that a client could choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.features.oip_server import failing

if TYPE_CHECKING:
    from tests.features.conftest import Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
"""
PEER = "127.0.0.1:PORT"


async def test_exact_counts(start: Start) -> None:
    """Five requests: one escalated, one half failed, one a client's mistake, one for no model; all counts are right."""
    gate = await start(POLICY)
    gate.backend.confidence = {"digits_fast": {1: 0.5, 2: 0.5}}
    await gate.infer([0, 3, 4])
    await gate.infer([0, 1, 2])
    gate.backend.scripts["digits_accurate"] = failing(500)
    await gate.infer([1])
    await gate.ask("POST", "/v2/models/digits/infer", b"nonsense")
    await gate.ask("POST", "/v2/models/made-up/infer", b"{}", {"X-Penstock-Route": "made-up"})
    metrics = await gate.metrics()
    peer = f"127.0.0.1:{gate.backend.port}"
    expected = {
        ("penstock_requests_total", ("digits", "default", "fast", "200")): 2,
        ("penstock_requests_total", ("digits", "default", "fast,accurate", "200")): 1,
        ("penstock_requests_total", ("digits", "", "", "400")): 1,
        ("penstock_requests_total", ("", "", "", "404")): 1,
        ("penstock_request_seconds_count", ("digits", "default")): 3,
        ("penstock_overhead_seconds_count", ("digits",)): 4,
        ("penstock_backend_seconds_count", ("triton", "fast")): 3,
        ("penstock_backend_seconds_count", ("triton", "accurate")): 2,
        ("penstock_backend_requests_total", ("triton", peer, "ok")): 4,
        ("penstock_backend_requests_total", ("triton", peer, "broken")): 1,
        ("penstock_in_flight", ("triton",)): 0,
        ("penstock_rows_total", ("digits", "fast")): 5,
        ("penstock_rows_total", ("digits", "accurate")): 2,
        ("penstock_escalations_total", ("digits", "fast", "accurate", "asked")): 1,
        ("penstock_escalations_total", ("digits", "fast", "accurate", "error")): 1,
        ("penstock_cost_total", ("digits", "fast")): 7,
        ("penstock_cost_total", ("digits", "accurate")): 80,
        ("penstock_cost_baseline_total", ("digits",)): 7 * 40,
        ("penstock_policy_info", (gate.gateway.plane.snapshot.version,)): 1,
        ("penstock_policy_reloads_total", ("ok",)): 1,
    }
    assert expected == {key: metrics.get(key) for key in expected}
    requests = {labels: value for (name, labels), value in metrics.items() if name == "penstock_requests_total"}
    assert 5 == sum(requests.values())
    assert not [labels for _, labels in metrics if any("made-up" in label for label in labels)]


async def test_asking_for_descriptions_counts_as_requests_only(start: Start) -> None:
    """Health and metadata cost no rows and no backend ask; a probe has no model."""
    gate = await start(POLICY)
    await gate.ask("GET", "/v2/models/digits")
    await gate.ask("GET", "/v2/health/live", caller="")
    metrics = await gate.metrics()
    assert 1 == metrics["penstock_requests_total", ("digits", "", "", "200")]
    assert 1 == metrics["penstock_requests_total", ("", "", "", "200")]
    assert not {"penstock_rows_total", "penstock_cost_total"} & {name for name, _ in metrics}
