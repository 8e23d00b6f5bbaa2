"""Answers in the Open Inference Protocol's HTTP form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, RequestedOutput, Tensors
from backends.protocols.v2_http_response import decode_response, encode_response, version_of
from backends.tensors import from_array


@pytest.mark.parametrize("text", [b"NaN", b"-Infinity"])
@pytest.mark.parametrize("verbatim", [True, False])
def test_bare_nan_from_a_backend_is_told(text: bytes, verbatim: bool) -> None:
    """Triton writes NaN into JSON; a client's parser would choke on it, so the error says how to get it."""
    body = b'{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[' + text + b"]}]}"
    with pytest.raises(InferenceError, match="binary_data"):
        decode_response(body, None, "triton", verbatim)
    quoted = body.replace(b'"FP32"', b'"BYTES"').replace(text, b'"' + text + b'"')
    assert [text] == decode_response(quoted, None, "triton", verbatim).payload.tensors()[0].array().tolist()


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


def test_the_version_is_found_though_no_value_is_read() -> None:
    """Behind an id that imitates it, too; a server may have none."""
    said = {"id": '"model_version":"9"', "model_name": "m", "model_version": "2", "outputs": []}
    assert "2" == version_of(json.dumps(said, separators=(",", ":")).encode())
    assert "" == version_of(b'{"model_name":"m","model_version":null,"outputs":[]}')


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("m" * 257, "1"),
        ("m", "1" * 129),
        ("m", "1\x01"),
        ("m", "\x1b[31m"),
        ("m\x7f", "1"),
        ("m\u00e9", "1"),
        ('m"', "1"),
        ("m\\", "1"),
    ],
)
@pytest.mark.parametrize("verbatim", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_a_backend_calls_itself_is_bounded(
    name: str, version: str, verbatim: bool, binary: bool, separators: tuple[str, str]
) -> None:
    """It becomes headers, and is remembered: neither long, nor anything a terminal or a parser would obey."""
    body = json.dumps({"model_name": name, "model_version": version, "outputs": []}, separators=separators).encode()
    with pytest.raises(InferenceError) as caught:
        decode_response(body, str(len(body)) if binary else None, "triton", verbatim)
    assert (ErrorKind.BROKEN, "bad-answer") == (caught.value.kind, caught.value.reason)


@pytest.mark.parametrize(
    "said",
    [
        b'{"model_name":"m","outputs":[],"model_name":"z"}',
        b'{"model_name":"m","outputs":[],"model_name" : "z"}',
        b'{"model_name": "z","outputs":[]}',
        b'{"model_name":"\\u007a","outputs":[]}',
    ],
)
def test_a_name_that_would_not_be_found_is_not_passed_on(said: bytes) -> None:
    """Twice, with blanks or escapes: such an answer is read and written anew."""
    answer = decode_response(said, None, "triton", verbatim=True)
    told = encode_response(answer, InferenceRequest("public", "", "", {}, (), (), Tensors(())))
    assert {"model_name": "public", "model_version": "", "outputs": []} == json.loads(b"".join(told.parts))


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


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.5]}]}', True),
        (b'{"model_name":"m","model_version":"1","more":{"a":[null]},"outputs":[]}', True),
        ('{"model_name":"m","outputs":[{"name":"y","datatype":"BYTES","shape":[1],"data":["NaN \u00e9"]}]}'.encode(), True),
        (b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.5]}', False),
        (b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.5,}]}', False),
        (b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[NaN]}]}', False),
        (b'{"model_name":"m","outputs":[{"name":"y","datatype":"BYTES","shape":[1],"data":["\xff"]}]}', False),
        (b'{"model_name":"m","outputs":[],"more":"' + 600_000 * "\u00e9".encode() + b'"}', True),
        (b'{"model_name":"m","outputs":[],"more":"' + 600_000 * "\u00e9".encode() + b'\xc3"}', False),
        (b'{"model_name":"m","outputs":[{"name":"y"}]}', False),
        (b'{"model_name":"m","outputs":[]} {}', False),
        (b'{"model_name":"m","outputs":[],"more":' + 100_000 * b"[" + 100_000 * b"]" + b"}", False),
        (b'{"model_name":"m", Traceback (most recent call last) in secret.py}', False),
        (b'{"error":"model_name"}', False),
        (b"[]", False),
    ],
)
def test_what_may_be_passed_on_unread(body: bytes, whole: bool) -> None:
    """A whole answer that is JSON all through: no half, no garbage, no stack trace."""
    assert whole is (version_of(body) is not None)
