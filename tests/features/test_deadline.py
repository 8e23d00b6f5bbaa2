"""Deadlines: the shortest of what the policy and the client allow, kept to the moment."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import pytest

from tests.features.oip_server import Waiting

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 30s
    variants: {fast: {backend: triton, model: digits_fast}}
    routes:
      - {name: hasty, match: {header: {x-hasty: "1"}}, use: fast, timeout: 100ms}
      - {name: default, use: fast}
"""


@pytest.fixture
async def gate(start: Start) -> Running:
    """A backend that never answers."""
    gate = await start(POLICY)
    gate.backend.scripts["digits_fast"] = Waiting()
    return gate


@pytest.mark.parametrize(
    "headers",
    [
        {"x-hasty": "1"},
        {"X-Request-Timeout-Ms": "100"},
        {"x-envoy-expected-rq-timeout-ms": "100"},
        {"X-Request-Timeout-Ms": "5000", "x-envoy-expected-rq-timeout-ms": "100"},
        {"X-Request-Timeout-Ms": "5000", "x-hasty": "1"},
    ],
)
async def test_the_shortest_counts(gate: Running, headers: dict[str, str]) -> None:
    """The route's own, the client's, Envoy's: whichever is first gives 504 on time, and the backend is left at once."""
    before = monotonic()
    reply = await gate.infer([0], headers)
    took = monotonic() - before
    assert (504, "deadline") == reply.error
    assert 0.09 <= took < 1.0
    waiting = gate.backend.scripts["digits_fast"]
    assert isinstance(waiting, Waiting)
    await waiting.left.wait()
    assert 0 == (await gate.metrics())["penstock_in_flight", ("triton",)]


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "abc", "", "1e3", "99999999999", "\u0661"])
async def test_a_timeout_that_is_none(gate: Running, value: str) -> None:
    """What is no whole number of milliseconds is a 400, before anybody is asked."""
    assert (400, "timeout") == (await gate.infer([0], {"X-Request-Timeout-Ms": value})).error
    assert [] == gate.backend.asked
