"""What guards look for in an answer."""

from __future__ import annotations

import numpy as np
import pytest

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor, from_array, pack_bytes
from routing.rollout.answers import flagged, unparseable
from routing.rollout.betting import UNMEASURED
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.rolling import Ended, Measure, Reader


class Broken:
    """A payload that nobody can read."""

    def tensors(self) -> tuple[Tensor, ...]:
        raise InferenceError(ErrorKind.BROKEN, "no")


def texts(*values: bytes) -> Tensor:
    return Tensor("text", "BYTES", (len(values),), pack_bytes(values))


def response(*tensors: Tensor) -> InferenceResponse:
    return InferenceResponse("m", "1", "", {}, Tensors(tensors))


BROKEN = InferenceResponse("m", "1", "", {}, Broken())


@pytest.mark.parametrize(
    ("answer", "output", "expected"),
    [
        (response(texts(b"{}")), "", 0),
        (BROKEN, "", 1),
        (response(texts(b'{"a": 1}', b"[]")), "text", 0),
        (response(texts(b'{"a": 1}', b'{"a": ')), "text", 1),
        (response(texts(b"[" * 100_000)), "text", 1),
        (response(), "text", 1),
        (response(from_array("text", "FP32", np.ones(2, np.float32))), "text", 1),
    ],
)
def test_unparseable(answer: InferenceResponse, output: str, expected: int) -> None:
    """Tensors that cannot be read, and JSON that is none."""
    assert expected == unparseable(answer, output)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(from_array("flag", "BOOL", np.array([False, True]))), 1),
        (response(from_array("flag", "INT32", np.zeros(3, np.int32))), 0),
        (response(Tensor("flag", "BYTES", (2,), pack_bytes([b"", b"violence"]))), 1),
        (response(Tensor("flag", "BYTES", (1,), pack_bytes([b""]))), 0),
        (response(texts(b"x")), UNMEASURED),
        (BROKEN, UNMEASURED),
    ],
)
def test_flagged(answer: InferenceResponse, expected: int) -> None:
    """Whether the model itself says so; unmeasured where it does not say."""
    assert expected == flagged(answer, "flag")


def test_in_cells() -> None:
    """An answer that cannot be read counts where there is none to see; an error is no answer; feedback comes otherwise."""
    measures = (Measure("error"), Measure("unparseable"), Measure("guardrail", output="flag"), Measure("elsewhere"))
    flag = response(from_array("flag", "BOOL", np.array([True])))
    found = {
        outcome: Reader(measures)(LatencyPoints(), Ended(outcome, 1.0, flag if outcome == "ok" else None), candidate=True)
        for outcome in ("ok", "error", "broken", "left")
    }
    assert {
        "ok": [0, 0, 1, UNMEASURED],
        "error": [1, UNMEASURED, UNMEASURED, UNMEASURED],
        "broken": [1, 1, UNMEASURED, UNMEASURED],
        "left": [0, UNMEASURED, UNMEASURED, UNMEASURED],
    } == found
