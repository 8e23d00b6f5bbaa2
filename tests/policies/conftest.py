"""Fakes that the policies' tests share: an observer that writes down, calls that need no socket."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from backends.deadline import Deadline
from backends.inference import InferenceRequest, InferenceResponse, Tensors, TensorSpec
from backends.tensors import from_array
from policies.call import Answer, Call, Ending, Share
from routing.plan import Confidence, Plan, Stage, Target
from routing.principal import Principal

TARGETS = {name: Target(name, "triton", f"b_{name}", cost=cost) for name, cost in (("fast", 1), ("mid", 6), ("dear", 40))}


class Written:
    """An Observer that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []
        self.cost = 0.0

    def asked(self, model: str, target: Target, ending: Ending) -> None:
        self.cost += ending.cost
        self.lines.append(("asked", model, target.variant, ending.rows, ending.outcome))

    def escalated(self, model: str, source: str, target: str, outcome: str) -> None:
        self.lines.append(("escalated", model, source, target, outcome))

    def fell_back(self, model: str, source: str, target: str) -> None:
        self.lines.append(("fell_back", model, source, target))


@pytest.fixture
def observer() -> Written:
    """What happened, in order."""
    return Written()


@pytest.fixture
def make_call() -> Callable[..., Call]:
    """Calls about `rows` rows of one column that holds the row's own number."""

    def make(
        rows: int = 1,
        stages: tuple[tuple[str, float | None], ...] = (("fast", None),),
        fallback: dict[str, str] | None = None,
        at: float = 1e12,
        scopes: frozenset[str] = frozenset({"models:infer"}),
    ) -> Call:
        plan = Plan(
            "route",
            tuple(Stage(TARGETS[name], accept) for name, accept in stages),
            1.0,
            Confidence("p", "output"),
            {source: TARGETS[to] for source, to in (fallback or {}).items()},
        )
        tensors = (from_array("x", "FP32", np.arange(rows, dtype=np.float32)[:, None]),)
        specs = (TensorSpec("x", "FP32", (rows, 1)),)
        request = InferenceRequest("digits", "", "q", {}, specs, (), Tensors(tensors))
        return Call("digits", request, Principal("ann", scopes=scopes), plan, Deadline(at))

    return make


@pytest.fixture
def make_answer() -> Callable[[Call, dict[str, list[float]]], Answer]:
    """The answer a variant gives whose confidence in row n is `scores[variant][n]`; column `who` echoes the row asked about."""

    def make(call: Call, scores: dict[str, list[float]]) -> Answer:
        assert call.target is not None
        (x,) = call.request.payload.tensors()
        asked = x.array().ravel().astype(int)
        found = np.array([scores[call.target.variant][row] for row in asked])[:, None]
        outputs = (from_array("p", "FP64", found), from_array("row", "INT64", asked[:, None]))
        response = InferenceResponse(call.target.model, "1", call.request.id, {}, Tensors(outputs))
        rows = len(asked)
        return Answer(response, (Share(call.target.variant, rows, call.target.model, "1"),), call.target.cost * rows, 0.25)

    return make
