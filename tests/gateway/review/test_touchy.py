"""Tests of gateway.review.touchy: a guard that nobody new could please is told of."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.review.touchy import touchy

POLICY = """version: 1
backends:
  old: {protocol: triton-http, endpoints: ["127.0.0.1:8000"]}
  new: {protocol: triton-http, endpoints: ["127.0.0.1:9000"]}
models:
  digits:
    variants: {v1: {backend: old, model: d}, v2: {backend: BACKEND, model: d, version: "2"}}
    rollouts: {v1: {candidate: v2, proof: time, steps: [{weight: 5%, hold: 1h}], guards: [GUARDS]}}
    routes: [{name: default, use: v1}]
"""


def notes(backend: str, guards: str) -> list[str]:
    """What is said of it."""
    return list(touchy(load_policy(POLICY.replace("BACKEND", backend).replace("GUARDS", guards).encode(), "policy.yaml")))


@pytest.mark.parametrize(
    ("backend", "guards"),
    [
        ("old", "{metric: latency}"),
        ("new", "{metric: latency, max_increase: 10%}, {metric: latency-p99, max_increase: 20%}"),
        ("new", "{metric: error-rate}"),
    ],
)
def test_nothing_to_say(backend: str, guards: str) -> None:
    """Of a candidate beside the stable one, of a tolerance, of guards that are no matter of time."""
    assert [] == notes(backend, guards)


def test_a_backend_of_its_own_and_no_tolerance() -> None:
    """Each such guard is named, and what to do."""
    (note,) = notes("new", "{metric: latency}, {metric: error-rate}, {metric: latency-p99}")
    assert note.startswith("rollout of 'v2' in 'digits': latency, latency-p99 tolerates nothing")
    assert "max_increase: 10%" in note
