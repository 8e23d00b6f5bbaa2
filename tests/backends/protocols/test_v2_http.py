"""The Open Inference Protocol's HTTP form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, RequestedOutput, Tensors, TensorSpec
from backends.protocols.v2_http import (
    HttpPayload,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    error_text,
    version_in,
)
from backends.tensors import DTYPES, Tensor, from_array, pack_bytes

NUMERIC = sorted(set(DTYPES) - {"BF16"})


def wire(message: dict[str, Any], tail: bytes = b"") -> tuple[bytes, str | None]:
    """A body and its head-length header."""
    head = json.dumps(message).encode()
    return head + tail, str(len(head)) if tail else None


def one(datatype: str = "FP32", shape: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """A message with one input."""
    return {"inputs": [{"name": "x", "datatype": datatype, "shape": [2] if shape is None else shape, **more}]}


def read(message: dict[str, Any], tail: bytes = b"") -> InferenceRequest:
    body, length = wire(message, tail)
    return decode_request(body, length, "m", "")


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any tensor of any datatype, small."""
    datatype = draw(st.sampled_from([*NUMERIC, "BYTES"]))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    if datatype == "BYTES":
        count = int(np.prod(shape))
        values = draw(st.lists(st.binary(max_size=8), min_size=count, max_size=count))
        return Tensor("x", "BYTES", shape, pack_bytes(values))
    return from_array("x", datatype, draw(hnp.arrays(DTYPES[datatype], shape)))


@given(tensors())
def test_binary_survives_bit_for_bit(tensor: Tensor) -> None:
    """What is encoded for a backend is read back with the same bytes, whatever the datatype."""
    spec = TensorSpec("x", tensor.datatype, tensor.shape)
    encoded = encode_request(InferenceRequest("m", "", "7", {"a": 1}, (spec,), (), Tensors((tensor,))))
    again = decode_request(b"".join(encoded.parts), str(encoded.head), "m", "")
    (found,) = again.payload.tensors()
    assert (tensor.datatype, tuple(tensor.shape), bytes(tensor.data)) == (found.datatype, found.shape, bytes(found.data))
    assert again.id == "7"
    assert again.parameters == {"a": 1, "binary_data_output": True}


@given(tensors().filter(lambda found: found.datatype != "BYTES"))
def test_json_survives(tensor: Tensor) -> None:
    """A finite tensor written as JSON is read back with the same bytes."""
    array = np.nan_to_num(tensor.array(), nan=0.0, posinf=1.0, neginf=-1.0)
    tensor = from_array("x", tensor.datatype, array)
    request = InferenceRequest("m", "", "", {}, (), (), Tensors(()))
    encoded = encode_response(InferenceResponse("m", "1", "", {}, Tensors((tensor,))), request)
    (output,) = json.loads(b"".join(encoded.parts))["outputs"]
    body, _ = wire({"inputs": [output]})
    (found,) = decode_request(body, None, "m", "").payload.tensors()
    assert bytes(tensor.data) == bytes(found.data)


@pytest.mark.parametrize("nested", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[[1], [2]], [[3], [4]]]])
def test_json_data_may_be_nested(nested: list[Any]) -> None:
    """Flat and nested arrays are the same tensor."""
    (found,) = read(one("INT32", [2, 2], data=nested)).payload.tensors()
    assert found.array().tolist() == [[1, 2], [3, 4]]


def test_json_text() -> None:
    """BYTES elements are JSON strings, in UTF-8."""
    (found,) = read(one("BYTES", [2], data=["a", "ü"])).payload.tensors()
    assert found.array().tolist() == [b"a", "ü".encode()]


BAD_HEADS: list[tuple[dict[str, Any], bytes, str]] = [
    ({"inputs": []}, b"", "1 to"),
    ({}, b"", "inputs"),
    (one("FP99", data=[1, 2]), b"", "datatype"),
    (one(shape=[-1], data=[1]), b"", "negative"),
    (one(shape=[1] * 17, data=[1]), b"", "dimensions"),
    (one(shape=["2"], data=[1, 2]), b"", "int"),
    (one(), b"", "neither"),
    (one(data=[1]), b"", "needs 2"),
    (one("BYTES", data=["a,b"]), b"", "needs 2"),
    (one(data={"a": 1}), b"", "array"),
    (one(data=[1, 2], parameters={"binary_data_size": 8}), b"12345678", "both"),
    (one(parameters={"binary_data_size": 7}), b"1234567", "needs 8"),
    (one(parameters={"binary_data_size": -8}), b"12345678", "whole number"),
    (one(parameters={"binary_data_size": "8"}), b"12345678", "whole number"),
    (one(parameters={"binary_data_size": True}), b"1", "whole number"),
    (one(parameters={"binary_data_size": 8}), b"123", "claim"),
    (one(parameters={"binary_data_size": 8}), b"123456789", "claim"),
    (one(shape=[2**62, 2**62], parameters={"binary_data_size": 8}), b"12345678", "needs"),
    (one(data=[1, 2], parameters={"shared_memory_region": "r"}), b"", "shared memory"),
    ({**one(data=[1, 2]), "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, b"", "shared memory"),
    ({"inputs": [one(data=[1, 2])["inputs"][0]] * 2}, b"", "twice"),
    ({**one(data=[1, 2]), "parameters": {"a": [1]}}, b"", "parameters"),
]


@pytest.mark.parametrize(("message", "tail", "said"), BAD_HEADS)
def test_bad_heads_are_refused_before_any_tensor_is_read(message: dict[str, Any], tail: bytes, said: str) -> None:
    """Names, datatypes, shapes and lengths that cannot hold are INVALID and say what was expected."""
    with pytest.raises(InferenceError) as caught:
        read(message, tail)
    assert caught.value.kind is ErrorKind.INVALID
    assert said in caught.value.message


BAD_TENSORS: list[tuple[dict[str, Any], bytes, str]] = [
    (one("INT8", data=[1, 300]), b"", "out of the range"),
    (one("UINT64", data=[1, -1]), b"", "out of the range"),
    (one("FP32", data=[1, 1e39]), b"", "out of the range"),
    (one("FP16", data=[1, 70000]), b"", "out of the range"),
    (one("INT32", data=[1, 2.5]), b"", "whole numbers"),
    (one("INT32", data=[1, "2"]), b"", "whole numbers"),
    (one("BOOL", data=[1, 0]), b"", "true or false"),
    (one("BYTES", data=["a", 1]), b"", "strings"),
    (one("BYTES", parameters={"binary_data_size": 3}), b"\1\0\0", "cut off"),
    (one("BYTES", parameters={"binary_data_size": 5}), b"\xff\0\0\0a", "runs past"),
    (one("BYTES", [1], parameters={"binary_data_size": 10}), b"\1\0\0\0a\1\0\0\0b", "more BYTES elements"),
    (one("BYTES", [2], parameters={"binary_data_size": 5}), b"\1\0\0\0a", "1 BYTES elements"),
]


@pytest.mark.parametrize(("message", "tail", "said"), BAD_TENSORS)
def test_bad_elements_are_refused_when_they_are_read(message: dict[str, Any], tail: bytes, said: str) -> None:
    """Elements that do not fit datatype or shape are INVALID and name the input."""
    with pytest.raises(InferenceError) as caught:
        read(message, tail).payload.tensors()
    assert caught.value.kind is ErrorKind.INVALID
    assert said in caught.value.message
    assert "'x'" in caught.value.message


@pytest.mark.parametrize("length", ["-1", "x", "9999999999999", "0", "1e1", "99999", "", "١"])
def test_lying_head_lengths(length: str) -> None:
    """A head length that is no length of this body is refused."""
    with pytest.raises(InferenceError) as caught:
        decode_request(b'{"inputs":[]}', length, "m", "")
    assert caught.value.kind is ErrorKind.INVALID


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 300).map(str), st.text(max_size=5)))
def test_garbage_is_invalid_and_nothing_else(body: bytes, length: str | None) -> None:
    """Whatever bytes come, the answer is a request or INVALID."""
    try:
        decode_request(body, length, "m", "").payload.tensors()
    except InferenceError as error:
        assert error.kind is ErrorKind.INVALID  # noqa: PT017  an error is allowed, not expected


def test_deep_json_is_refused() -> None:
    """Nesting far beyond any tensor ends in an error, not in a crash."""
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
    with pytest.raises(InferenceError) as caught:
        decode_request(body, None, "m", "").payload.tensors()
    assert caught.value.kind is ErrorKind.INVALID


def test_the_clients_own_bytes_go_to_the_backend() -> None:
    """When nobody changed the request its bytes are the very same object."""
    body, length = wire(one(data=[1, 2]))
    assert encode_request(decode_request(body, length, "m", "")).parts[0] is body


@pytest.mark.parametrize("text", [r"\u0073hared_memory_region", "a shared_memory name"])
def test_what_two_parsers_might_read_differently_is_written_anew(text: str) -> None:
    """A body that could name shared memory to another parser is never passed on as it is."""
    body = (
        b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["' + text.encode() + b'"],'
        b'"parameters":{"shared_memory_region":"r"},"parameters":{}}]}'
    )
    encoded = encode_request(decode_request(body, None, "m", ""))
    assert b"shared_memory_region" not in encoded.parts[0]


def test_response_is_passed_on_under_the_public_name() -> None:
    """A backend's bytes reach the client unchanged but for the model's name, and the head's length follows."""
    message = {"id": '"model_name":"', "model_name": "digits_fast", "model_version": "3"}
    tensor = from_array("y", "FP32", np.array([1.5]))
    message["outputs"] = [{"name": "y", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}]  # type: ignore[assignment]
    head = json.dumps(message, separators=(",", ":")).encode()
    response = decode_response(head + bytes(tensor.data), str(len(head)), "triton", True)
    assert response.version == "3"
    request = InferenceRequest("digits", "", "", {}, (), (), Tensors(()))
    encoded = encode_response(response, request)
    sent = b"".join(encoded.parts)
    assert encoded.head is not None
    assert {**message, "model_name": "digits"} == json.loads(sent[: encoded.head])
    assert bytes(tensor.data) == sent[encoded.head :]


def test_version_is_found_without_parsing() -> None:
    """The key is found even behind an id that imitates it, and text that is no answer has none."""
    body = json.dumps({"id": '"model_version":"9"', "model_name": "m", "model_version": "2"}, separators=(",", ":")).encode()
    assert version_in(body) == "2"
    assert version_in(b"{}") == ""


@pytest.mark.parametrize(
    ("parameters", "outputs", "binary"),
    [({}, (), False), ({"binary_data_output": True}, (), True), ({}, (RequestedOutput("y", {"binary_data": True}),), True),
     ({"binary_data_output": True}, (RequestedOutput("y", {"binary_data": False}),), False)],
)  # fmt: skip
def test_outputs_come_in_the_form_asked_for(
    parameters: dict[str, bool], outputs: tuple[RequestedOutput, ...], binary: bool
) -> None:
    """JSON unless the request or the output says binary; the output's word counts more."""
    tensor = from_array("y", "FP32", np.array([1.5, 2.5]))
    request = InferenceRequest("m", "", "q", parameters, (), outputs, Tensors(()))
    encoded = encode_response(InferenceResponse("b", "1", "", {}, Tensors((tensor,))), request)
    assert binary is (encoded.head is not None)
    head = json.loads(b"".join(encoded.parts)[: encoded.head])
    assert (head["model_name"], head["id"]) == ("m", "q")
    assert (head["outputs"][0].get("data") == [1.5, 2.5]) is not binary


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_cannot_carry_nan(value: float) -> None:
    """An answer that JSON cannot carry says what to do instead of lying."""
    tensor = from_array("y", "FP32", np.array([value]))
    with pytest.raises(InferenceError, match="binary_data"):
        encode_response(
            InferenceResponse("b", "1", "", {}, Tensors((tensor,))), InferenceRequest("m", "", "", {}, (), (), Tensors(()))
        )


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"oops", "4"),
        (b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":4}}]}1234', "90"),
        (b"{}", "99"),
    ],
)
def test_what_a_backend_breaks_is_not_the_clients_fault(body: bytes, length: str) -> None:
    """An unreadable answer is BROKEN and repeats nothing of it."""
    with pytest.raises(InferenceError) as caught:
        decode_response(body, length, "triton", False)
    assert caught.value.kind is ErrorKind.BROKEN


def test_payload_is_decoded_once() -> None:
    """Asking for the tensors twice gives the same tensors."""
    payload = read(one(data=[1, 2])).payload
    assert isinstance(payload, HttpPayload)
    assert payload.tensors() is payload.tensors()


def test_error_text() -> None:
    """Only an error object has a text."""
    assert error_text(b'{"error":"no"}') == "no"
    assert [error_text(body) for body in (b"[]", b"", b"\xff", b'"error"')] == [""] * 4
