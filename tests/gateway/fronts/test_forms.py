"""What is alike but for its tensors is known as such, and nothing else is."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest

from backends.begun import Begun
from backends.http1.messages import UpstreamResponse
from backends.inference import Tensors
from backends.protocols.v2_http_request import decode_request
from backends.protocols.v2_http_response import HttpAnswer, decode_response, encode_response
from gateway.fronts.forms import SHORT, Begins, Expected, ExpectedJson, expected, form_of

QUESTION = {"name": "x", "datatype": "FP32", "shape": [2]}


class Told:
    """A first attempt that had this answer, or none."""

    def __init__(self, status: int = 0, body: bytes = b"", head: int | None = None) -> None:
        headers = {} if head is None else {"inference-header-content-length": str(head)}
        self.answer = UpstreamResponse(status, headers, body) if status else None


def begun(*told: Any) -> Begun:
    return cast(Begun, Told(*told))


def answer(model: str, version: str, data: list[float] | None, tensors: bytes = b"") -> bytes:
    output: dict[str, Any] = {"name": "y", "datatype": "FP32", "shape": [2]}
    output |= {"parameters": {"binary_data_size": len(tensors)}} if data is None else {"data": data}
    told = {"model_name": model, "model_version": version, "outputs": [output]}
    return json.dumps(told, separators=(",", ":")).encode() + tensors


def passed_on(body: bytes, head: int | None, model: str) -> Expected | ExpectedJson:
    """How answers like this one are, which was passed on under that name."""
    request = decode_request(json.dumps({"inputs": [{**QUESTION, "data": [1, 2]}]}).encode(), None, model, "")
    response = decode_response(body, None if head is None else str(head), "triton", True)
    written = b"".join(encode_response(response, request).parts)
    assert isinstance(response.payload, HttpAnswer)
    found = expected(response.payload, written, model, 1000, "lines")
    assert found is not None
    assert "lines" == found.lines
    return found


@pytest.mark.parametrize("public", ["fast", "a-longer-name"])
def test_answers_in_binary(public: str) -> None:
    """As long as the one before and begun like it: their own tensors, under the public name."""
    first, other, longer = (answer("fast", version, None, b"%08d" % at) for at, version in enumerate(("1", "1", "12")))
    size = len(first) - 8
    found = passed_on(first, size, public)
    assert answer(public, "1", None, b"00000001") == found.body(begun(200, other, size))
    for told in (
        (500, other, size),
        (200, other, size - 1),
        (200, other, None),
        (200, other + b"0", size),
        (200, longer, size + 1),
    ):
        assert found.body(begun(*told)) is None
    assert found.body(begun()) is None
    assert found.body(begun(200, other.replace(b"FP32", b"FP64"), size)) is None


@pytest.mark.parametrize("public", ["fast", "a-longer-name"])
def test_answers_in_json(public: str) -> None:
    """By the same version, and no longer than is passed on: whatever their numbers are."""
    found = passed_on(answer("fast", "1", [1, 2]), None, public)
    assert answer(public, "1", [0.5, 1e9]) == found.body(begun(200, answer("fast", "1", [0.5, 1e9])))
    for told in (
        (400, answer("fast", "1", [1, 2])),
        (200, answer("fast", "2", [1, 2])),
        (200, answer("fast", "1", [1, 2]), 20),
        (200, answer("fast", "1", [0.123456789] * 100)),
        (),
        (200, answer("fast", "1", [float("nan"), 2])),
        (200, answer("fast", "1", [1, 2])[:-1]),
        (200, b"{}"),
        (200, b""),
    ):
        assert found.body(begun(*told)) is None


@pytest.mark.parametrize("public", ["fast", "a-longer-name", "f"])
def test_how_long_answers_in_json_may_be(public: str) -> None:
    """Both as they come and as they are passed on."""
    body, told = answer("fast", "1", [1, 2]), answer(public, "1", [1, 2])
    for less in (0, 1):
        found = expected(HttpAnswer(body, None, None, True), told, public, max(len(body), len(told)) - less, "")
        assert found is not None
        assert (None if less else told) == found.body(begun(200, body))


def test_bodies_in_binary() -> None:
    """As long as the one before and begun like it."""
    head = json.dumps({"inputs": [{**QUESTION, "parameters": {"binary_data_size": 8}}]}).encode()
    body = head + b"12345678"
    form = form_of(body, str(len(head)), decode_request(body, str(len(head)), "m", "").payload)
    assert Begins(head, len(body)) == form
    assert b"abcdefgh" == bytes(form.tensors(head + b"abcdefgh") or b"")
    for other in (body + b"9", body[:-1], body.replace(b'"x"', b'"y"'), b""):
        assert form.tensors(other) is None


def test_bodies_in_json() -> None:
    """Like the one before but for their numbers, each of which is still looked at."""

    def written(data: object, **more: object) -> bytes:
        return json.dumps({"inputs": [{**QUESTION, "data": data}, {**QUESTION, "name": "z", "data": [3, 4]}], **more}).encode()

    body = written([1, 2])
    form = form_of(body, None, decode_request(body, None, "m", "").payload)
    assert form is not None
    assert np.array([0.5, 7, 3, 4], "<f4").tobytes() == form.tensors(written([0.5, 7]))
    for other in (
        written([1]),
        written([1, 2, 3]),
        written(["a", 2]),
        written([1e99, 2]),
        written([1, 2], id="a"),
        body[:-1],
        b"",
        b"{}",
    ):
        assert form.tensors(other) is None


def test_long_bodies_in_json_have_no_form() -> None:
    """Not even if they are like a short one but for blanks, or for more numbers: to look through them takes its time."""
    body = json.dumps({"inputs": [{**QUESTION, "data": [1, 2]}]}).encode()
    form = form_of(body, None, decode_request(body, None, "m", "").payload)
    assert form is not None
    longest = body.replace(b"[1,", b"[1" + b" " * (SHORT - len(body)) + b",")
    assert (SHORT, np.array([1, 2], "<f4").tobytes()) == (len(longest), form.tensors(longest))
    assert form.tensors(longest.replace(b"[1 ", b"[1  ")) is None


def test_what_has_no_form() -> None:
    """Texts, numbers in JSON beside binary, long JSON; answers that are to be written anew, or have numbers in their JSON."""
    texts = json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}).encode()
    mixed = json.dumps(
        {"inputs": [{**QUESTION, "parameters": {"binary_data_size": 8}}, {**QUESTION, "name": "z", "data": [3, 4]}]}
    ).encode()
    long = json.dumps({"inputs": [{**QUESTION, "shape": [9000], "data": [1] * 9000}]}).encode()
    numbers = json.dumps({"inputs": [{**QUESTION, "data": [1, 2]}]}).encode()
    assert form_of(numbers, None, Tensors(())) is None  # it was not read from this body alone
    for body, length in ((texts, None), (mixed + b"12345678", str(len(mixed))), (long, None)):
        assert form_of(body, length, decode_request(body, length, "m", "").payload) is None
    wide = json.dumps({"inputs": [{**QUESTION, "name": "x" * 1000, "parameters": {"binary_data_size": 8}}]}).encode()
    assert form_of(wide + b"12345678", str(len(wide)), None) is None
    wide = json.dumps({"inputs": [{**QUESTION, "name": "x" * 1000, "data": [1, 2]}]}).encode()
    assert form_of(wide, None, decode_request(wide, None, "m", "").payload) is None
    wide = answer("x" * 1000, "1", None, b"12345678")
    assert expected(HttpAnswer(wide, len(wide) - 8, None, True), wide, "m", 1000, "") is None
    told = HttpAnswer(answer("fast", "1", [1, 2]), None, None, False)
    assert expected(told, told.whole, "m", 1000, "") is None
    told = HttpAnswer(answer("fast", "1", [1, 2]) + b"1234", len(answer("fast", "1", [1, 2])), None, True)
    assert expected(told, told.whole, "m", 1000, "") is None
