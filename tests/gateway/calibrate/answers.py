"""Rows of a model that knows when it is unsure and of one that is nearly always right, to be read and judged by tests."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

POLICY = """---
version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    variants:
      fast:     {backend: triton, model: digits_fast, cost: 1}
      balanced: {backend: triton, model: digits_balanced, cost: 6}
      accurate: {backend: triton, model: digits_accurate, cost: 40}   # the dearest
    routes:
      - {name: vip, match: {tier: vip}, use: accurate}
      - name: default
        cascade:                   # everybody else
          confidence: {output: probabilities, metric: max-softmax}   # of ten classes
          stages:
            - {use: fast, accept: 0.9}
            - {use: accurate}
    fallback: {accurate: fast}     # stays as it is
tests:
  - {name: vips ask the dearest, request: {model: digits, principal: {tier: vip}}, expect: {use: accurate}}
...
"""


def rows(count: int = 1500, seed: int = 1) -> list[dict[str, Any]]:
    """As CSV has them: truth, and label and confidence of fast, balanced and accurate."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, count)
    made: dict[str, Any] = {"truth": truth}
    for name, skill, sure in (("fast", 1.2, 8.0), ("balanced", 2.2, 8.0), ("accurate", 4.5, 8.0)):
        ease = rng.normal(skill, 1.5, count)
        right = rng.random(count) < 1 / (1 + np.exp(-ease * 1.5))
        made[f"{name}_label"] = np.where(right, truth, (truth + 1) % 3)
        made[f"{name}_confidence"] = np.round(1 / (1 + np.exp(-ease * sure / 4)), 6)
    return [dict(zip(made, cells, strict=True)) for cells in zip(*(column.tolist() for column in made.values()), strict=True)]


def write(path: Path, made: list[dict[str, Any]], without: tuple[str, ...] = ()) -> Path:
    """As CSV, less some columns."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in made[0] if name not in without], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(made)
    return path


def pair(row: Mapping[str, Any], number: int, first: str, second: str) -> dict[str, Any]:
    """A row as the gateway records it of a shadow."""
    told: dict[str, Any] = {"time": 1.0, "model": "digits", "shadow": f"{first}-{second}", "request": f"q{number}", "row": 0}
    for name in (first, second):
        told |= {
            f"{name}_label": str(row[f"{name}_label"]),
            f"{name}_confidence": row[f"{name}_confidence"],
            f"{name}_version": "1",
        }
    return told
