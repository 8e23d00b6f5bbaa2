"""What a model takes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InferenceError
from backends.inference import RequestedOutput, TensorSpec
from backends.signature import Signature, signature

METADATA = {
    "name": "digits",
    "versions": ["1", "3"],
    "inputs": [
        {"name": "image", "datatype": "FP32", "shape": [-1, 64]},
        {"name": "hint", "datatype": "INT64", "shape": ["-1", "1"]},
        {"name": "note", "datatype": "BYTES", "shape": [-1, -1]},
    ],
    "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1, 1]}],
}
CONFIG = {
    "max_batch_size": 8,
    "input": [{"name": "image"}, {"name": "hint", "optional": True}, {"name": "note", "optional": True}],
}


def image(*shape: int, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec("image", datatype, shape)


@pytest.fixture
def digits() -> Signature:
    """A model with one input that must come and two that may."""
    found = signature(METADATA, CONFIG)
    assert found is not None
    return found


def test_what_fits_passes(digits: Signature) -> None:
    """Any batch size up to the limit, with or without the optional inputs, any size where the model takes any; none, too."""
    digits.check([image(8, 64)], (), "digits")
    digits.check([image(1, 64), TensorSpec("hint", "INT64", (1, 1))], [RequestedOutput("label")], "digits")
    for length in (0, 1, 1000):
        digits.check([image(2, 64), TensorSpec("note", "BYTES", (2, length))], (), "digits")


@pytest.mark.parametrize(
    ("specs", "reason", "said"),
    [
        ([TensorSpec("picture", "FP32", (1, 64))], "unknown-input", "no input 'picture'"),
        ([image(1, 64, datatype="FP64")], "datatype", "FP64"),
        ([image(1, 64), TensorSpec("note", "FP32", (1, 1))], "datatype", "BYTES"),
        ([image(1, 65)], "shape", r"\[-1, 64\]"),
        ([image(64)], "shape", r"\[64\]"),
        ([image()], "shape", r"\[\]"),
        ([image(0, 64)], "shape", "no rows.*1 to 8"),
        ([image(9, 64)], "rows", "at most 8"),
        ([image(2, 64), TensorSpec("hint", "INT64", (3, 1))], "rows", "'hint' has 3 rows, input 'image' 2"),
        ([TensorSpec("hint", "INT64", (1, 1))], "missing-input", "'image' is missing"),
    ],
)
def test_misfits_are_named(digits: Signature, specs: list[TensorSpec], reason: str, said: str) -> None:
    """Unknown, missing, mistyped, misshaped, none, too many and uneven: each says what the model takes."""
    with pytest.raises(InferenceError, match=said) as caught:
        digits.check(specs, (), "digits")
    assert reason == caught.value.reason


def test_an_output_that_the_model_has_not(digits: Signature) -> None:
    """It is refused with those there are; a backend that names no outputs judges itself."""
    with pytest.raises(InferenceError, match="no output 'sound'; it gives 'label'") as caught:
        digits.check([image(1, 64)], [RequestedOutput("label"), RequestedOutput("sound")], "digits")
    assert "unknown-output" == caught.value.reason
    silent = signature({**METADATA, "outputs": []}, CONFIG)
    assert silent is not None
    silent.check([image(1, 64)], [RequestedOutput("sound")], "digits")


def test_without_a_batch_dimension_no_rows_are_counted() -> None:
    """A model that takes tensors of any length takes empty ones, too, and inputs of different lengths."""
    inputs = [{"name": name, "datatype": "INT32", "shape": [-1]} for name in ("a", "b")]
    found = signature({"inputs": inputs}, {"max_batch_size": 0})
    assert found is not None
    found.check([TensorSpec("a", "INT32", (0,)), TensorSpec("b", "INT32", (700,))], (), "m")


def test_versions(digits: Signature) -> None:
    """Those that the backend serves are known, too."""
    assert ("1", "3") == digits.versions


@pytest.mark.parametrize(
    ("metadata", "config"),
    [
        ({}, {}),
        ({"inputs": [{"name": "x"}]}, {}),
        ({"inputs": 3}, {}),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": []}]}, {"max_batch_size": 4}),
        (METADATA, {"input": ["image"]}),
        (METADATA, {"input": [{"name": "image", "is_shape_tensor": True}]}),
    ],
)
def test_unclear_descriptions_judge_nothing(metadata: dict[str, object], config: dict[str, object]) -> None:
    """A description that cannot be read, or that has rules of its own, leaves the judgement to the backend."""
    assert signature(metadata, config) is None


ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "shape", "datatype"]), inner),
    max_leaves=6,
)


@given(
    inputs=ANYTHING,
    outputs=ANYTHING,
    versions=ANYTHING,
    config=st.dictionaries(st.sampled_from(["input", "max_batch_size"]), ANYTHING),
)
def test_no_description_breaks_the_reader(inputs: Any, outputs: Any, versions: Any, config: dict[str, Any]) -> None:
    """Whatever JSON a backend sends, there is a signature or none, and no exception that would end the looking for ever."""
    found = signature({"inputs": inputs, "outputs": outputs, "versions": versions}, config)
    assert found is None or isinstance(found, Signature)
