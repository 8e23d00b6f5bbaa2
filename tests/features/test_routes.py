"""Routes: the first whose conditions all hold decides which variant answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.features.conftest import Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      balanced: {backend: triton, model: digits_balanced, cost: 6}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
      second: {backend: triton, model: digits_accurate, version: "2", cost: 40}
    routes:
      - {name: tenant, match: {tenant: [bigco, other], header: {x-experiment: "1"}}, use: second}
      - {name: tier, match: {tier: enterprise}, use: accurate}
      - {name: header, match: {header: {X-Experiment: "1"}}, use: balanced}
      - {name: parameter, match: {parameter: {preview: true}}, use: second}
      - {name: bulk, match: {rows: 8..}, use: balanced}
      - {name: default, use: fast}
"""
EXPERIMENT = {"x-experiment": "1"}
CASES: list[tuple[str, dict[str, str], int, dict[str, Any], str, str]] = [
    ("enterprise", EXPERIMENT, 1, {}, "tenant", "second"),
    ("enterprise", {}, 8, {}, "tier", "accurate"),
    ("free", EXPERIMENT, 8, {"preview": True}, "header", "balanced"),
    ("free", {"X-EXPERIMENT": "2"}, 1, {"preview": True}, "parameter", "second"),
    ("free", {}, 8, {"preview": 1}, "bulk", "balanced"),
    ("free", {"x-tier": "enterprise", "x-penstock-tier": "enterprise"}, 7, {"preview": False}, "default", "fast"),
]
MODELS = {"fast": "digits_fast", "balanced": "digits_balanced", "accurate": "digits_accurate", "second": "digits_accurate"}


async def test_the_first_route_that_matches_is_taken(start: Start) -> None:
    """Tenant, tier, header, parameter and rows decide, in the document's order; headers say nothing about who somebody is."""
    gate = await start(POLICY)
    for caller, headers, rows, parameters, route, variant in CASES:
        reply = await gate.infer(range(rows), headers, caller, parameters=parameters)
        assert (200, route, variant) == (reply.status, reply.headers["x-penstock-route"], reply.headers["x-penstock-variant"])
        assert MODELS[variant] == reply.headers["x-model-name"] == gate.backend.asked[-1].model
        assert ("2" if variant == "second" else "1") == reply.headers["x-model-version"]
    assert len(CASES) == len(gate.backend.asked)


async def test_a_version_is_asked_for_by_path_or_header(start: Start) -> None:
    """A version goes on to the backend where the variant leaves it open, and is a 404 where another is pinned."""
    gate = await start(POLICY)
    for path, headers in (("/versions/2", {}), ("", {"X-Model-Version": "2"})):
        reply = await gate.ask("POST", f"/v2/models/digits{path}/infer", PLAIN, headers)
        assert (200, "2") == (reply.status, reply.headers["x-model-version"])
        assert "2" == gate.backend.asked[-1].version
    asked = len(gate.backend.asked)
    pinned = await gate.infer([0], {"X-Model-Version": "1"}, parameters={"preview": True})
    assert (404, "version") == pinned.error
    assert asked == len(gate.backend.asked)
    unknown = await gate.infer([0], {"X-Model-Version": "9"})
    assert (404, "version") == unknown.error


@pytest.mark.parametrize("version", ["../../x", "1/../2", "1 2", "a" * 200])
async def test_a_version_cannot_be_a_path(start: Start, version: str) -> None:
    """What is no version's name is refused before it could become part of a path."""
    gate = await start(POLICY)
    reply = await gate.infer([0], {"X-Model-Version": version})
    assert (400, "version") == reply.error
    assert [] == gate.backend.asked


PLAIN = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'
