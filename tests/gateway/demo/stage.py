"""A stage without Triton: a small policy, digits nobody drew, and clients that answer what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gateway.demo.client import Question, Reply

POLICY = Path(__file__).parents[3] / "config" / "policy.yaml"
Answers = Callable[[Question], Reply]


def reply(status: int | str = 200, **headers: str) -> Reply:
    """An answer with these headers, `_` for `-`."""
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, {}, "", 0.001)


@dataclass
class FakeClient:
    """Answers every question by one function."""

    answer: Answers

    def ask(self, question: Question) -> Reply:
        return self.answer(question)


@dataclass
class FakeGateway:
    """A gateway that is nothing but its metrics and what its API answers."""

    metrics: dict[str, float] = field(default_factory=dict)
    apis: dict[str, Any] = field(default_factory=dict)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.get(name, 0.0)

    def api(self, path: str, headers: Mapping[str, str]) -> Any:
        return self.apis[path]


def document() -> dict[str, Any]:
    """A cascade of two, and a route that splits."""
    return {
        "backends": {"triton": {"protocol": "triton-http", "endpoints": ["127.0.0.1:8000"]}},
        "models": {
            "digits": {
                "variants": {"fast": {"model": "m_fast", "cost": 1}, "accurate": {"model": "m_accurate", "cost": 40}},
                "routes": [
                    {"name": "experiment", "split": {"fast": 50, "accurate": 50}},
                    {"name": "enterprise", "use": "accurate"},
                    {"name": "default", "cascade": {"stages": [{"use": "fast", "accept": 0.9}, {"use": "accurate"}]}},
                ],
            }
        },
    }


def certain(labels: list[int], confidence: list[float]) -> Any:
    """Probabilities [n, 10] with this largest one for each row."""
    found = np.zeros((len(labels), 10), dtype=np.float32)
    found[np.arange(len(labels)), labels] = confidence
    return found
