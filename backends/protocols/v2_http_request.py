"""Questions in the Open Inference Protocol's HTTP form, read from clients and written for backends.

A client's JSON is never passed on: what was checked is written anew, with every tensor in binary, so that a backend cannot
read into it anything else than the gateway did (two parsers differ over repeated keys, escapes and odd numbers).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from backends.errors import InferenceError, invalid
from backends.inference import InferenceRequest, Parameter, Parameters, RequestedOutput, TensorSpec
from backends.parameters import check_output, check_request
from backends.protocols.v2_http import (
    REMEMBERED_BYTES,
    Encoded,
    WireTensor,
    binary_entry,
    encode,
    head_length,
    specs,
)
from backends.protocols.v2_json import from_json
from backends.tensors import BYTES, DTYPES, Tensor, check, elements

MAX_TENSORS = 1024
MAX_HEAD = 512 * 1024  # bytes of JSON without the arrays of inputs: it is read in one go, which nothing else interrupts
T = TypeVar("T")


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Parameter] | None = None


class _Request(msgspec.Struct, frozen=True):
    inputs: list[WireTensor]
    id: str | None = None
    parameters: dict[str, Parameter] | None = None
    outputs: list[_Output] | None = None


class _Array(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw()


class _Arrays(msgspec.Struct, frozen=True):
    inputs: list[_Array]


_read_request = msgspec.json.Decoder(_Request).decode
_read_arrays = msgspec.json.Decoder(_Arrays).decode


class HttpQuestion(msgspec.Struct, gc=False):
    """Tensors as they go to a backend: `head` is the JSON, `parts` their bytes (one part for each, or one for all together).

    `parameters` are those of the request that stand in the head. `derived`: what was made of these tensors, by whatever else is
    in it; None while nobody knows that they come again.
    """

    head: bytes
    parts: tuple[bytes | memoryview, ...]
    specs: tuple[TensorSpec, ...]
    parameters: Parameters
    decoded: tuple[Tensor, ...] | None = None
    derived: dict[bytes, Any] | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor; they were checked when the message was read."""
        if self.decoded is None:
            parts = self.parts if len(self.parts) == len(self.specs) else _divided(self.specs, self.parts[0])
            self.decoded = tuple(
                [Tensor(spec.name, spec.datatype, spec.shape, part) for spec, part in zip(self.specs, parts, strict=True)]
            )
        return self.decoded


def _divided(specs: Sequence[TensorSpec], whole: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """One run of bytes as the parts of tensors whose datatypes fix their sizes."""
    at = 0
    for spec in specs:
        size = _bytes_of(spec)
        yield whole[at : at + size]
        at += size


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """What a request's JSON says, arrays aside, once it has been found to hold.

    `inline`: how many inputs have their elements in the JSON. `tail`: how many bytes must follow it. `written`: the JSON for
    a backend, empty while the size of a text tensor is open. `texts`: whether there are BYTES, which must be walked through.
    """

    id: str
    parameters: Parameters
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[RequestedOutput, ...]
    sizes: tuple[int | None, ...]  # of each input in bytes behind the JSON; None: its elements are in it
    inline: int
    tail: int
    texts: bool
    written: bytes


def decode_request(
    body: bytes, length: str | None, model: str, version: str, headers: tuple[tuple[str, str], ...] = ()
) -> InferenceRequest:
    """A client's body as a request; `length` is the Inference-Header-Content-Length header. Raises INVALID."""
    size = head_length(length, len(body))
    head = body if size is None else body[:size]
    arrays: Sequence[bytes] = ()
    if b'"data"' in head:
        head, arrays = _cut(head)
    if len(head) > MAX_HEAD:
        raise invalid(f"the request's JSON is longer than {MAX_HEAD} bytes without the inputs' data", "json")
    envelope = _remembered(head) if len(head) <= REMEMBERED_BYTES else _envelope(head)
    if len(arrays) != envelope.inline:
        raise _unplain()
    tail = 0 if size is None else len(body) - size
    if envelope.tail != tail:
        raise invalid(
            f"the inputs claim {envelope.tail} bytes of binary data in all, {tail} follow the JSON head: check binary_data_size",
            "binary-size",
        )
    inputs, behind = envelope.inputs, memoryview(body)[len(body) - tail :]
    parts = tuple(_parts(envelope, iter(arrays), behind)) if arrays or envelope.texts else (behind,)
    written = envelope.written or _written(envelope, [len(part) for part in parts])
    payload = HttpQuestion(written, parts, inputs, envelope.parameters)
    return InferenceRequest(model, version, envelope.id, envelope.parameters, inputs, envelope.outputs, payload, headers)


class Inline(msgspec.Struct, frozen=True, gc=False):
    """Bodies in JSON that are alike but for the numbers in their arrays: `left` is what is left without these.

    They have `most` bytes at most: whoever asks is to read them in no time, and blanks or numbers may be without end.
    """

    left: bytes
    specs: tuple[TensorSpec, ...]
    most: int

    def tensors(self, body: bytes | memoryview) -> bytes | None:
        """The bytes of all tensors together; None where the body is another, or is not right: whoever reads it all says why."""
        if len(body) > self.most:
            return None
        try:
            left, arrays = _cut(bytes(body))
            if left != self.left or len(arrays) != len(self.specs):
                return None
            read = [
                from_json(spec.name, spec.datatype, spec.shape, array).data
                for spec, array in zip(self.specs, arrays, strict=True)
            ]
        except InferenceError as error:
            error.ended()
            return None
        return b"".join(read)


def inline(body: bytes, question: HttpQuestion, most: int) -> Inline | None:
    """For bodies like this one, from which the question was read; None where they are longer, or more than JSON with numbers."""
    if len(body) > most or any(spec.datatype == BYTES for spec in question.specs):
        return None
    left, arrays = _cut(body)
    return Inline(left, question.specs, most) if len(arrays) == len(question.specs) else None


def takes_long(body: bytes, length: str | None) -> bool:
    """Whether the time to read a request grows with its body: elements in JSON or texts are walked through, one by one."""
    return length is None or BYTES.encode() in body[: int(length) if length.isdecimal() and len(length) < 8 else 0]


_DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*')


def _cut(head: bytes) -> tuple[bytes, list[bytes]]:
    """The JSON with each input's array taken out and `[]` in its place, and the arrays.

    What is left is short, the same for the same shapes, and holds nobody's tensors. Flat arrays of numbers are found by their
    brackets: both what is left and the arrays are parsed strictly afterwards, and must agree on how many there are.
    """
    kept, arrays, at = [], list[bytes](), 0
    while (key := _DATA.search(head, at)) is not None:
        start = key.end()
        end = head.find(b"]", start) + 1
        array = head[start:end]
        if array[:1] != b"[" or b'"' in array or b"[" in array[1:]:
            return _cut_parsed(head)
        kept.append(head[at:start])
        arrays.append(array)
        at = end
    kept.append(head[at:])
    left = b"[]".join(kept)
    return _cut_parsed(head) if b"\\" in left else (left, arrays)  # an escape may hide a key


def _cut_parsed(head: bytes) -> tuple[bytes, list[bytes]]:
    """As `_cut`, for texts, nested arrays and escapes."""
    inputs = _parsed(_read_arrays, head).inputs[: MAX_TENSORS + 1]  # `_envelope` refuses so many
    arrays = [bytes(found.data) for found in inputs if len(memoryview(found.data))]
    kept, at = [], 0
    for array in arrays:
        start = next((key.end() for key in _DATA.finditer(head, at) if head.startswith(array, key.end())), None)
        if start is None:
            raise _unplain()
        kept.append(head[at:start])
        at = start + len(array)
    kept.append(head[at:])
    return b"[]".join(kept), arrays


def _envelope(head: bytes) -> _Envelope:
    """Reads and checks a request's JSON, from which arrays have been cut."""
    message = _parsed(_read_request, head)
    _refuse_repeated(head)
    asked = message.outputs or []
    if not 0 < len(message.inputs) <= MAX_TENSORS or len(asked) > MAX_TENSORS:
        raise invalid(f"a request has 1 to {MAX_TENSORS} inputs and at most as many outputs", "inputs")
    inputs, sizes = specs(message.inputs)
    parameters = message.parameters or {}
    check_request(parameters)
    outputs = tuple([RequestedOutput(output.name, output.parameters or {}) for output in asked])
    for output in outputs:
        check_output(output.parameters, output.name)
    inline = [tensor for tensor in message.inputs if tensor.inline]
    if any(bytes(tensor.data) != b"[]" for tensor in inline):
        raise _unplain()
    texts = any(spec.datatype == BYTES for spec in inputs)
    tail = sum(size or 0 for size in sizes)
    envelope = _Envelope(message.id or "", parameters, inputs, outputs, sizes, len(inline), tail, texts, b"")
    if any(tensor.datatype == BYTES for tensor in inline):
        return envelope
    known = [_bytes_of(spec) if size is None else size for spec, size in zip(inputs, sizes, strict=True)]
    return replace(envelope, written=_written(envelope, known))


_remembered = lru_cache(maxsize=1024)(_envelope)


def _unplain() -> InferenceError:
    return invalid("an input's 'data' must be an array, its key written once and without escapes", "elements")


def _parsed(decode: Callable[[bytes], T], head: bytes) -> T:
    try:
        return decode(head)
    except msgspec.ValidationError as error:
        raise invalid(f"the request's JSON does not fit the Open Inference Protocol: {error}", "json") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise invalid(f"the request's JSON cannot be read: {str(error)[:200]}", "json") from None


def _refuse_repeated(head: bytes) -> None:
    """msgspec takes the last of repeated keys, other parsers the first: nobody shall have to know which."""
    try:
        json.loads(head.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise invalid(f"the request's JSON cannot be read: {str(error)[:200]}", "json") from None


def _once(pairs: list[tuple[str, object]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        repeated = next(name for name in names if sum(name == other for other, _ in pairs) > 1)
        raise invalid(f"the request's JSON has the key '{repeated[:64]}' more than once: give it once", "json")


def _bytes_of(spec: TensorSpec) -> int:
    return elements(spec.shape, spec.name) * DTYPES[spec.datatype].itemsize


def _parts(envelope: _Envelope, arrays: Iterator[bytes], tail: memoryview) -> Iterator[bytes | memoryview]:
    """Each input's bytes, checked."""
    at = 0
    for spec, size in zip(envelope.inputs, envelope.sizes, strict=True):
        if size is None:
            yield from_json(spec.name, spec.datatype, spec.shape, next(arrays)).data
            continue
        part = tail[at : at + size]
        at += size
        yield check(Tensor(spec.name, spec.datatype, spec.shape, part)).data


def encode_request(request: InferenceRequest) -> Encoded:
    """The request for a backend, every tensor in binary; the answer comes in the form the client asked for, or in binary."""
    payload = request.payload
    if isinstance(payload, HttpQuestion):
        head = payload.head if request.parameters is payload.parameters else _with_parameters(payload, request.parameters)
        return Encoded((head, *payload.parts), len(head))
    tensors = payload.tensors()
    inputs = [binary_entry(tensor.name, tensor.datatype, tensor.shape, len(tensor.data)) for tensor in tensors]
    if request.outputs:
        outputs = [{"name": output.name, "parameters": {**output.parameters, "binary_data": True}} for output in request.outputs]
        head = _message(request.id, request.parameters, inputs, outputs)
    else:
        head = _message(request.id, {**request.parameters, "binary_data_output": True}, inputs, [])
    return Encoded((head, *(tensor.data for tensor in tensors)), len(head))


def _with_parameters(payload: HttpQuestion, parameters: Parameters) -> bytes:
    """The head, which is of our own writing, with these parameters; they stand last in it."""
    end = len(encode(payload.parameters)) + len(',"parameters":') if payload.parameters else 0
    written = b',"parameters":' + encode(parameters) if parameters else b""
    return payload.head[: -1 - end] + written + b"}"


def _written(envelope: _Envelope, sizes: Sequence[int]) -> bytes:
    inputs = [
        binary_entry(spec.name, spec.datatype, spec.shape, size, spec.parameters)
        for spec, size in zip(envelope.inputs, sizes, strict=True)
    ]
    outputs = [{"name": output.name, "parameters": output.parameters} for output in envelope.outputs]
    return _message(envelope.id, envelope.parameters, inputs, outputs)


def _message(id: str, parameters: Parameters, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> bytes:
    message: dict[str, Any] = {"inputs": inputs}
    if id:
        message["id"] = id
    if outputs:
        message["outputs"] = outputs
    if parameters:
        message["parameters"] = parameters
    return encode(message)
