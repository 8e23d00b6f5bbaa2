"""Tests of gateway.mismatch: what the policy asks for and gateway.yaml has no place for is said, once."""

from __future__ import annotations

import pytest

from gateway.compile import blueprint
from gateway.configuration.load import load_gateway
from gateway.mismatch import warn_of

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models: {digits: {variants: {fast: {backend: triton, model: f}}, routes: [{name: all, use: fast}]}}
"""
LIMITS = "limits: [{per: tenant, requests: 10/s}]\n"


@pytest.mark.parametrize(
    ("gateway", "more", "lines"),
    [
        ("workers: 4", LIMITS, 1),
        ("workers: 4", "", 0),
        ("workers: 1", LIMITS, 0),
        ("{workers: 4, store: 'redis://127.0.0.1:6379/0'}", LIMITS, 0),
    ],
)
def test_limits_of_several_workers(gateway: str, more: str, lines: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each of them allows its part where they share no store."""
    warn_of(load_gateway(gateway.encode(), "gateway.yaml"), blueprint((POLICY + more).encode(), "policy.yaml"))
    assert lines == len(caplog.messages)
    assert all("each of them allows its part" in line and "4 workers" in line for line in caplog.messages)


def test_pairs(caplog: pytest.LogCaptureFixture) -> None:
    """Shadows that record to nowhere."""
    pure = POLICY.replace(
        "{backend: triton, model: f}", "{backend: triton, model: f, pure: true}, next: {backend: triton, model: n, pure: true}"
    )
    shadow = "shadows: [{name: dark, of: fast, to: next, fraction: 1%, record: {metric: margin, output: p}}]"
    policy = blueprint(pure.replace("use: fast}]}", f"use: fast}}], {shadow}}}").encode(), "policy.yaml")
    warn_of(load_gateway(b"telemetry: {pairs: {file: pairs.jsonl}}", "gateway.yaml"), policy)
    assert [] == caplog.messages
    warn_of(load_gateway(b"workers: 1", "gateway.yaml"), policy)
    assert ["shadow 'digits/dark' says 'record' and nothing is recorded: telemetry.pairs is null"] == caplog.messages


def test_samples(caplog: pytest.LogCaptureFixture) -> None:
    """Routes that are sampled to nowhere."""
    policy = POLICY.replace("use: fast}", "use: fast, sample: 5%}")
    warn_of(load_gateway(b"workers: 1", "gateway.yaml"), blueprint(policy.encode(), "policy.yaml"))
    (line,) = caplog.messages
    assert "nothing is recorded" in line
