"""Samples for tests, made in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gateway.configuration.load import load_policy
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import route_tables
from gateway.review.traffic.decided import ByPolicy
from gateway.telemetry.sample import Ask, PlannedStage, Sample, pseudonym

SALT = "00" * 16
POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    timeout: 2s
    variants:
      fast: {backend: triton, model: f, cost: 1}
      balanced: {backend: triton, model: b, cost: 6}
      accurate: {backend: triton, model: a, cost: 40}
    routes:
      - {name: gold, match: {tier: gold}, use: accurate}
      - name: default
        cascade:
          confidence: {output: p, metric: margin}
          stages: [{use: fast, accept: 0.9}, {use: balanced, accept: 0.8}, {use: accurate}]
"""
FAST, BALANCED, ACCURATE = (
    PlannedStage("fast", "triton/f/", 0.9),
    PlannedStage("balanced", "triton/b/", 0.8),
    PlannedStage("accurate", "triton/a/"),
)
CASCADE = (FAST, BALANCED, ACCURATE)


def document(text: str = POLICY) -> PolicyDocument:
    """A checked policy."""
    return load_policy(text.encode(), "policy.yaml")


def treatment(text: str = POLICY) -> ByPolicy:
    """A policy, as it decides about samples."""
    found = document(text)
    return ByPolicy(route_tables(found), found.aliases)


def name(word: str) -> str:
    """Its pseudonym."""
    return pseudonym(bytes.fromhex(SALT), word)


def sample(**more: Any) -> Sample:
    """One row for the tier free, which was answered by `fast` alone, all of it as the policy above would have it."""
    given: dict[str, Any] = {
        "tier": "free",
        "scopes": ("models:infer",),
        "rows": 1,
        "route": "default",
        "stages": CASCADE,
        "confidence": ("p", "margin"),
        "cost": 1.0,
        "backend_ms": 2.0,
        "asks": (Ask("fast", 1, 2.0, (950_000,)),),
        "shares": {"fast": 1},
    }
    fixed = {"sample": 1, "time": 1e9, "request_id": "r", "salt": SALT, "policy": "v1", "share": 1.0, "model": "digits"}
    return Sample(**{**fixed, "code": "200", "ms": 3.0, **given, **more})


def gold(rows: int = 1, ms: float = 20.0, **more: Any) -> Sample:
    """One for the tier gold, answered by `accurate`."""
    stage = PlannedStage("accurate", "triton/a/")
    given: dict[str, Any] = {"stages": (stage,), "confidence": None, "asks": (Ask("accurate", rows, ms),), "rows": rows}
    given |= {"tier": "gold", "route": "gold", "cost": 40.0 * rows, "backend_ms": ms, "ms": ms + 1}
    return sample(**{**given, **more})


def written(path: Path, *samples: Sample) -> Path:
    """A log of them."""
    path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in samples))
    return path
