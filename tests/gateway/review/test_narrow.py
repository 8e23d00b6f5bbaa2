"""Tests of gateway.review.narrow: what a budget has room for at once is told before anybody is refused for it."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.review.narrow import narrow

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:8000"]}}
models:
  digits:
    timeout: 2s
    variants:
      fast: {backend: triton, model: f, cost: COST}
      dear: {backend: triton, model: d, cost: {row: 40, gpu_ms: 100}}
FALLBACK    routes:
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.9}, {use: dear}]}
limits: [{name: own, per: tenant, cost: SUM/day}]
"""


def notes(cost: str, total: str, fallback: str = "") -> list[str]:
    """What is said of it."""
    text = POLICY.replace("COST", cost).replace("SUM", total).replace("FALLBACK", fallback)
    return list(narrow(load_policy(text.encode(), "policy.yaml")))


@pytest.mark.parametrize(
    ("cost", "total"),
    [
        ("1", "1"),
        ("{row: 1, call: 2}", "3"),
        ("{row: 1, gpu_ms: 0.05}", "6464"),
        ("{row: 1, gpu_ms: 0.05, most_ms: 20}", "128"),
        ("{token: 0.01, tokens: n, most_tokens: 100}", "64"),
    ],
)
def test_room_enough(cost: str, total: str) -> None:
    """Prices that are known before are no matter of holding; nor is a stage that rows go up to, which is skipped."""
    assert [] == notes(cost, total)


@pytest.mark.parametrize(
    ("cost", "total", "said"),
    [
        ("{row: 1, gpu_ms: 0.05}", "6463", "holds up to 101 of 6463 while 'fast' is asked, so 63 at once hold all of it"),
        ("{gpu_ms: 1}", "500", "holds up to 2000 of 500 while 'fast' is asked, so 1 at once hold"),
        ("{token: 0.01, tokens: n, most_tokens: 100}", "63", "holds up to 1 of 63"),
    ],
)
def test_too_little_room(cost: str, total: str, said: str) -> None:
    """As many as at once hold it all are told, and what to do."""
    (note,) = notes(cost, total)
    assert said in note
    assert note.startswith("limit 'own': a question of one row to 'digits'")


def test_who_stands_in_is_asked_with_the_first() -> None:
    """A fallback of the first stage may be what costs most."""
    (note,) = notes("1", "9999", "    fallback: {fast: dear}\n")
    assert "while 'dear' is asked" in note
