"""What a model takes."""

import pytest

from backends.errors import InferenceError
from backends.inference import TensorSpec
from backends.signature import Signature, signature

METADATA = {
    "name": "digits",
    "inputs": [
        {"name": "image", "datatype": "FP32", "shape": [-1, 64]},
        {"name": "hint", "datatype": "INT64", "shape": ["-1", "1"]},
    ],
}
CONFIG = {"max_batch_size": 8, "input": [{"name": "image"}, {"name": "hint", "optional": True}]}


@pytest.fixture
def digits() -> Signature:
    """A model with one input that must come and one that may."""
    found = signature(METADATA, CONFIG)
    assert found is not None
    return found


def test_what_fits_passes(digits: Signature) -> None:
    """Any batch size up to the limit, with or without the optional input."""
    digits.check([TensorSpec("image", "FP32", (8, 64))], "digits")
    digits.check([TensorSpec("image", "FP32", (1, 64)), TensorSpec("hint", "INT64", (1, 1))], "digits")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (TensorSpec("picture", "FP32", (1, 64)), "no input 'picture'"),
        (TensorSpec("image", "FP64", (1, 64)), "FP64"),
        (TensorSpec("image", "FP32", (1, 65)), r"\[-1, 64\]"),
        (TensorSpec("image", "FP32", (64,)), r"\[64\]"),
        (TensorSpec("image", "FP32", (9, 64)), "at most 8"),
        (TensorSpec("hint", "INT64", (1, 1)), "'image' is missing"),
    ],
)
def test_misfits_are_named(digits: Signature, spec: TensorSpec, said: str) -> None:
    """Unknown, missing, mistyped, misshaped and too many: each says what the model takes."""
    with pytest.raises(InferenceError, match=said):
        digits.check([spec], "digits")


@pytest.mark.parametrize("metadata", [{}, {"inputs": [{"name": "x"}]}, {"inputs": 3}])
def test_unclear_descriptions_judge_nothing(metadata: dict[str, object]) -> None:
    """A description that cannot be read leaves the judgement to the backend."""
    assert signature(metadata, {}) is None
