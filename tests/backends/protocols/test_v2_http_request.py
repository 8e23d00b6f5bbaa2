"""Questions in the Open Inference Protocol's HTTP form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors, TensorSpec
from backends.protocols.v2_http_request import MAX_HEAD, HttpQuestion, decode_request, encode_request, takes_long
from backends.protocols.v2_http_response import encode_response
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
    (one(shape=[0, 2**70], data=[]), b"", "63 bits"),
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


@pytest.mark.parametrize("more", ['"%s": 1', '"x": [%s]'])
def test_long_json_beside_the_data_is_refused(more: str) -> None:
    """It is read in one go, however many requests wait; of the data there may be as much as a body holds."""
    data = ",".join(["1"] * MAX_HEAD)
    one = f'{{"inputs": [{{"name": "x", "datatype": "INT8", "shape": [{MAX_HEAD}], "data": [{data}]}}]'
    assert MAX_HEAD == len(decode_request(f"{one}}}".encode(), None, "m", "").payload.tensors()[0].data)
    with pytest.raises(InferenceError, match=f"the request's JSON is longer than {MAX_HEAD} bytes without the inputs' data"):
        decode_request(f"{one}, {more % ('1' * MAX_HEAD)}}}".encode(), None, "m", "")


def test_what_was_checked_is_written_anew() -> None:
    """A backend gets the JSON that the gateway understood, each tensor in binary, and nothing else of the client's."""
    message = {**one("INT32", data=[1, 2]), "id": "7", "parameters": {"priority": 1}, "outputs": [{"name": "y"}], "unknown": [1]}
    body, _ = wire(message)
    encoded = encode_request(decode_request(body, None, "m", ""))
    assert {
        "inputs": [{"name": "x", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}}],
        "id": "7",
        "parameters": {"priority": 1},
        "outputs": [{"name": "y", "parameters": {}}],
    } == json.loads(bytes(encoded.parts[0]))
    assert b"\1\0\0\0\2\0\0\0" == b"".join(encoded.parts[1:])
    assert len(encoded.parts[0]) == encoded.head


def test_several_inputs_in_several_forms() -> None:
    """Arrays in the JSON, texts and binary parts each keep their place, also where names and values look alike."""
    message = {"inputs": [
        {"name": "data", "datatype": "INT32", "shape": [1], "data": [1]},
        {"name": "b", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": 4}},
        {"name": '"data":[1]', "datatype": "BYTES", "shape": [2], "data": ['"data":[1]', "ü"]},
        {"name": "d", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}},
    ]}  # fmt: skip
    request = read(message, b"\5\0\0\0\1\0\0\0z")
    found = [tensor.array().tolist() for tensor in request.payload.tensors()]
    assert [[1], [5], [b'"data":[1]', "ü".encode()], [b"z"]] == found
    encoded = encode_request(request)
    again = decode_request(b"".join(encoded.parts), str(encoded.head), "m", "")
    assert found == [tensor.array().tolist() for tensor in again.payload.tensors()]


X = b'{"name":"x","datatype":"INT32","shape":[1],"data":[1]}'


REPEATED = [
    b'{"inputs":[' + X + b'],"inputs":[' + X + b"]}",
    b'{"id":"a","inputs":[' + X + b'],"id":"b"}',
    b'{"inputs":[{"name":"y","name":"x","datatype":"INT32","shape":[1],"data":[1]}]}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","shape":[1],"data":[1]}]}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[1],"data":[1]}]}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[2],"data":[1]}]}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[2],"d\\u0061ta":[1]}]}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","parameters":{"a":1,"a":2},"data":[1]}]}',
    b'{"inputs":[' + X + b'],"parameters":{"p":1,"\\u0070":2}}',
    b'{"inputs":[' + X + b'],"outputs":[{"name":"a","name":"b"}]}',
    b'{"inputs":[' + X + b'],"unknown":{"a":1,"a":2}}',
]


@pytest.mark.parametrize("body", REPEATED)
def test_a_repeated_key_is_refused_wherever_it_stands(body: bytes) -> None:
    """What one parser reads as the first and another as the last is neither."""
    with pytest.raises(InferenceError, match="once"):
        decode_request(body, None, "m", "")


def test_an_array_beside_the_inputs_is_nobody_s() -> None:
    """What stands under "data" elsewhere fills no input, not even one whose own array is empty or hidden."""
    hidden = b'{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"d\\u0061ta":[]}],"data":[7]}'
    empty = b'{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[]}],"data":[7]}'
    other = b'{"data":[7],"inputs":[{"name":"x","datatype":"INT32","shape":[1],"parameters":{"binary_data_size":0}}]}'
    for body in (hidden, empty, other):
        with pytest.raises(InferenceError):
            decode_request(body, None, "m", "")


@pytest.mark.parametrize("key", [b'"d\\u0061ta"', b'"\\u0064ata"'])
def test_escaped_data_keys_are_refused(key: bytes) -> None:
    """Elements under an escaped key are found by nobody else, and never kept in memory as a head."""
    body = X.replace(b'"data"', key)
    with pytest.raises(InferenceError, match="without escapes"):
        decode_request(b'{"inputs":[' + body + b"]}", None, "m", "")


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
KEYS = st.sampled_from(["data", "name", "shape", "x"])


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner)))
def test_strange_json_never_slips_through(value: Any) -> None:
    """Whatever stands where the elements belong, a request either holds one INT32 or is INVALID."""
    body = json.dumps({"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "data": value}]}).encode()
    try:
        (tensor,) = decode_request(body, None, "m", "").payload.tensors()
    except InferenceError as error:
        assert error.kind is ErrorKind.INVALID  # noqa: PT017  an error is allowed, not expected
    else:
        assert len(tensor.data) == 4


def test_null_is_as_good_as_nothing() -> None:
    """Some clients write null for what they leave out."""
    message = {**one("INT32", data=[1, 2]), "id": None, "parameters": None, "outputs": None}
    request = read(message)
    assert ("", {}, ()) == (request.id, request.parameters, request.outputs)


@pytest.mark.parametrize("given", [{}, {"a": 1}, {"b": '\u20ac\\"}', "a": 0.1}])
@pytest.mark.parametrize("more", [{}, {"timeout": 5}, {"a": True, "timeout": 7}])
def test_other_parameters_replace_those_in_the_head(given: dict[str, Any], more: dict[str, Any]) -> None:
    """They stand in the JSON for the backend, and nothing else in it changes; the same ones change nothing at all."""
    request = read({**one(data=[1, 2]), "id": "7", "parameters": given, "outputs": [{"name": "y"}]})
    assert isinstance(request.payload, HttpQuestion)
    before = json.loads(request.payload.head)
    assert request.payload.head is encode_request(request).parts[0]
    encoded = encode_request(replace(request, parameters={**given, **more}))
    head = json.loads(bytes(encoded.parts[0]))
    assert ({**given, **more}, len(encoded.parts[0])) == (head.pop("parameters", {}), encoded.head)
    before.pop("parameters", None)
    assert before == head


def test_payload_is_decoded_once() -> None:
    """Asking for the tensors twice gives the same tensors."""
    payload = read(one(data=[1, 2])).payload
    assert isinstance(payload, HttpQuestion)
    assert payload.tensors() is payload.tensors()


@pytest.mark.parametrize(
    ("body", "length", "expected"),
    [
        (b"{}", None, True),
        (b'{"datatype":"BYTES"}\0', "20", True),
        (b'{"datatype":"FP32"}BYTES', "19", False),
        (b"{}", "x", False),
        (b"{}", "²", False),  # a digit to str.isdigit, no number to int
    ],
)
def test_what_takes_long_to_read(body: bytes, length: str | None, expected: bool) -> None:
    """Elements in the JSON and texts are walked through one by one; other binary tensors are only measured."""
    assert expected is takes_long(body, length)
