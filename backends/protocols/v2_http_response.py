"""Answers in the Open Inference Protocol's HTTP form, read from backends and written for clients.

Answers are not read unless somebody must: the client's own form was asked for, so the bytes go on under the public name.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import InferenceRequest, InferenceResponse, Parameter, names_itself
from backends.protocols.v2_http import REMEMBERED_BYTES, Encoded, WireTensor, binary_entry, encode, head_length, specs
from backends.protocols.v2_json import from_json, to_json, unfit
from backends.tensors import BYTES, Tensor, check


class _Response(msgspec.Struct, frozen=True):
    model_name: str = ""
    model_version: str | None = ""
    id: str = ""
    parameters: dict[str, Parameter] = {}
    outputs: list[WireTensor] = []


_read = msgspec.json.Decoder(_Response).decode


class HttpAnswer(msgspec.Struct, gc=False):
    """Tensors still inside the message they came in; `whole` is that message, `head` the length of its JSON (None: all of it).

    `found` is what the JSON says of them, None for an answer that nobody has read yet; `verbatim`: the bytes may be passed on
    as they are.
    """

    whole: bytes
    head: int | None
    found: Sequence[WireTensor] | None
    verbatim: bool
    decoded: tuple[Tensor, ...] | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, checked against its datatype and shape. Raises BROKEN."""
        if self.decoded is None:
            try:
                self.decoded = tuple(self._each())
            except (InferenceError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise _unreadable("the backend") from error
        return self.decoded

    def _each(self) -> list[Tensor]:
        at, tensors, tail = 0, [], memoryview(self.whole)[self.head :]
        for found in _answer(self.whole)[0].outputs if self.found is None else self.found:
            size = (found.parameters or {}).get("binary_data_size")
            shape = tuple(found.shape)
            if size is None:
                tensors.append(from_json(found.name, found.datatype, shape, found.data))
                continue
            assert isinstance(size, int)
            tensor = Tensor(found.name, found.datatype, shape, tail[at : at + size])
            tensors.append(check(tensor) if found.datatype == BYTES else tensor)  # others' sizes have been held against shapes
            at += size
        return tensors


def decode_response(body: bytes, length: str | None, source: str, verbatim: bool) -> InferenceResponse:
    """A backend's body as a response. `verbatim`: the answer was asked for in the client's own form.

    Raises BROKEN (what a backend sends is never the client's mistake), and INVALID for NaN or infinity in JSON.
    """
    head = None
    try:
        head = head_length(length, len(body))
        if verbatim and head is None and (version := version_of(body)) is not None:
            payload = HttpAnswer(body, None, None, True)  # nobody needs its numbers
            return InferenceResponse("", version, "", {}, payload)
        if head is not None and head <= REMEMBERED_BYTES and b'"data"' not in (block := body[:head]):
            message, claimed, named = _remembered(block)
        else:
            message, claimed, named = _answer(body[:head])
        if claimed != (0 if head is None else len(body) - head):
            raise invalid("the outputs' lengths do not add up")
    except (InferenceError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.DecodeError) and _odd(body[:head]):
            raise unfit("the answer holds NaN or infinity") from error
        raise _unreadable(f"backend '{source}'", source) from error
    payload = HttpAnswer(body, head, message.outputs, verbatim and named)
    return InferenceResponse(message.model_name, message.model_version or "", message.id, message.parameters, payload)


def _odd(text: bytes) -> bool:
    """Whether bare NaN or Infinity may be in it, which is no JSON (RFC 8259 section 6) though servers write it."""
    return b"NaN" in text or b"Infinity" in text


def _unreadable(who: str, source: str = "gateway") -> InferenceError:
    return InferenceError(ErrorKind.BROKEN, f"{who} sent an answer that cannot be read", source=source, reason="bad-answer")


_PIECE = 1 << 20  # bytes decoded at once: text may take four times as much
_KEY = b'"model_name"'


def _answer(head: bytes) -> tuple[_Response, int, bool]:
    """An answer's JSON, the bytes it claims behind it, and whether `_renamed` will find the name."""
    message = _read(head)
    if not names_itself(message.model_name, message.model_version or ""):
        raise invalid("the model's name or version is too long or not printable")
    return message, sum(size or 0 for size in specs(message.outputs)[1]), _findable(head, message.model_name)


_remembered = lru_cache(maxsize=1024)(_answer)


def _findable(head: bytes, name: str) -> bool:
    """Whether it is written once, without blanks and escapes. Inside a JSON string every quote is escaped, so this is a key."""
    return head.count(_KEY) == 1 and b'%s:"%s"' % (_KEY, name.encode()) in head


class _TensorOutline(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: list[int]


class _Outline(msgspec.Struct, frozen=True):
    """An answer whose values are looked through, not read: a fifteenth of what reading takes, 0.6 ms for each MB."""

    model_name: str
    outputs: list[_TensorOutline]
    model_version: str | None = ""  # null where a server has no versions


_outline = msgspec.json.Decoder(_Outline).decode


def version_of(body: bytes) -> str | None:
    """The model version in an answer in JSON, asked for in the client's own form, that may be passed on though nobody reads its
    values; None: it may not.

    It is whole, an answer, and JSON all through: whatever else a backend writes (half an answer, a stack trace) stays here.
    """
    try:
        found = _outline(body)
        version = found.model_version or ""
        if not names_itself(found.model_name, version) or not _findable(body, found.model_name):
            return None
        if not body.isascii():  # skipped texts are not decoded
            decoder = getincrementaldecoder("utf-8")()
            for at in range(0, len(body), _PIECE):
                decoder.decode(body[at : at + _PIECE])
            decoder.decode(b"", True)
        return version
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def renamed(body: bytes, model: str) -> bytes:
    """Such an answer under the public name."""
    parts = _renamed(HttpAnswer(body, None, None, True), model).parts
    return b"".join(parts) if len(parts) > 1 else body


def encode_response(response: InferenceResponse, request: InferenceRequest) -> Encoded:
    """The answer in the form its client asked for: per output JSON or binary, under the public model name."""
    payload = response.payload
    if isinstance(payload, HttpAnswer) and payload.verbatim:
        return _renamed(payload, request.model)
    asked = {output.name: output.parameters for output in request.outputs}
    always = request.parameters.get("binary_data_output") is True
    outputs: list[dict[str, Any]] = []
    tail: list[bytes | memoryview] = []
    for tensor in payload.tensors():
        if asked.get(tensor.name, {}).get("binary_data", always) is True:
            outputs.append(binary_entry(tensor.name, tensor.datatype, tensor.shape, len(tensor.data)))
            tail.append(tensor.data)
        else:
            outputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": to_json(tensor)})
    message: dict[str, Any] = {"model_name": request.model, "model_version": response.version, "outputs": outputs}
    if request.id:
        message["id"] = request.id
    if response.parameters:
        message["parameters"] = dict(response.parameters)
    head = encode(message)
    return Encoded((head, *tail), len(head) if tail else None)


def _renamed(payload: HttpAnswer, model: str) -> Encoded:
    """The backend's own bytes, with the public model name in place of its own where they differ."""
    body, head = payload.whole, payload.head
    start = body.find(_KEY, 0, head) + len(_KEY) + 2
    end = body.find(b'"', start, head)
    name = model.encode()
    if body[start:end] == name:
        return Encoded((body,), head)
    parts = (body[:start] + name, memoryview(body)[end:])
    return Encoded(parts, None if head is None else head + len(name) - (end - start))
