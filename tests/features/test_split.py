"""Splits: weights decide how much, the unit decides who, and the same unit always gets the same side."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

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
    routes: [{name: default, split: {fast: 75, balanced: 25}, unit: UNIT}]
"""


async def test_a_unit_stays_on_its_side(start: Start) -> None:
    """Whoever shares a unit shares a variant, request after request and over a reload that moves nothing."""
    gate = await start(POLICY.replace("UNIT", "'header:x-user'"))
    sides = {}
    for user in range(40):
        headers = {"x-user": f"u{user}"}
        sides[user] = (await gate.infer([0], headers)).headers["x-penstock-variant"]
    await gate.reload("# moved by a comment\n" + POLICY.replace("UNIT", "'header:x-user'"))
    for user, side in sides.items():
        assert side == (await gate.infer([0], {"x-user": f"u{user}"}, "enterprise")).headers["x-penstock-variant"]
    assert {"fast", "balanced"} == set(sides.values())


async def test_a_tenant_stays_on_its_side(start: Start) -> None:
    """With the tenant as unit no header moves anybody."""
    gate = await start(POLICY.replace("UNIT", "tenant"))
    for caller in ("free", "enterprise"):
        found = {(await gate.infer([0], {"x-request-id": f"r{n}"}, caller)).headers["x-penstock-variant"] for n in range(12)}
        assert 1 == len(found)


async def test_each_request_on_its_own(start: Start) -> None:
    """With the request as unit the shares of many requests are near the weights, and a repeated id repeats the choice."""
    gate = await start(POLICY.replace("UNIT", "request"))
    found = Counter([(await gate.infer([0], {"x-request-id": f"r{n}"})).headers["x-penstock-variant"] for n in range(200)])
    assert 200 * 0.75 - 35 < found["fast"] < 200 * 0.75 + 35
    again = Counter([(await gate.infer([0], {"x-request-id": f"r{n}"})).headers["x-penstock-variant"] for n in range(200)])
    assert found == again
