"""Requests and responses in Open Inference Protocol terms."""

from __future__ import annotations

import pytest

from backends.inference import InferenceRequest, InferenceResponse, Tensors, TensorSpec
from backends.tensors import Tensor


def request(*shapes: tuple[int, ...]) -> InferenceRequest:
    specs = tuple(TensorSpec(f"x{index}", "FP32", shape) for index, shape in enumerate(shapes))
    return InferenceRequest("m", "", "", {}, specs, (), Tensors(()))


@pytest.mark.parametrize(
    ("shapes", "rows"),
    [([(3, 4)], 3), ([(3, 4), (3,)], 3), ([(3, 4), (2, 4)], None), ([()], None), ([(0, 4)], 0), ([(3,), ()], None), ([], None)],
)
def test_rows_are_what_all_inputs_share(shapes: list[tuple[int, ...]], rows: int | None) -> None:
    """The leading dimension, where there is one and the same."""
    assert rows == request(*shapes).rows


def test_an_output_by_its_name() -> None:
    """A named tensor of the answer, or nothing."""
    tensors = (Tensor("a", "BOOL", (1,), b"\1"), Tensor("b", "BOOL", (1,), b"\0"))
    response = InferenceResponse("m", "1", "", {}, Tensors(tensors))
    assert tensors[1] is response.output("b")
    assert response.output("c") is None


def test_a_request_is_frozen() -> None:
    """What one layer decided no other layer changes."""
    with pytest.raises(AttributeError):
        request((1,)).model = "other"  # type: ignore[misc]
