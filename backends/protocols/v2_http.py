"""The Open Inference Protocol's HTTP form: a JSON head, then, with the binary extension, raw tensors behind it.

Sources: Open Inference Protocol v2 REST; Triton's "Binary Tensor Data Extension" and "Classification Extension".
The head is always read (names, shapes and lengths must hold before a backend sees them); tensors only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import InferenceRequest, InferenceResponse, Parameter, Parameters, RequestedOutput, TensorSpec
from backends.protocols.v2_json import elements_in, from_json, to_json
from backends.tensors import BYTES, DATATYPES, DTYPES, Tensor, check, elements

LENGTH_HEADER = "inference-header-content-length"
BINARY = "application/octet-stream"
JSON = "application/json"
MAX_TENSORS = 1024


class _Input(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Parameter] = {}
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Parameter] = {}


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Parameter] = {}
    outputs: list[_Output] = []


class _Response(msgspec.Struct, frozen=True):
    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Parameter] = {}
    outputs: list[_Input] = []


_read_request = msgspec.json.Decoder(_Request).decode
_read_response = msgspec.json.Decoder(_Response).decode
_encode = msgspec.json.Encoder().encode


class HttpPayload(msgspec.Struct, gc=False):
    """Tensors still inside the message they came in; `whole` is that message, `head` the length of its JSON (None: all of it).

    `found` is what the JSON says of them, None for an answer that nobody has read yet; `verbatim`: the bytes may be passed on
    as they are.
    """

    whole: bytes
    head: int | None
    found: Sequence[_Input] | None
    verbatim: bool
    decoded: tuple[Tensor, ...] | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, checked against its datatype and shape."""
        if self.decoded is None:
            self.decoded = tuple(self._each())
        return self.decoded

    def _each(self) -> list[Tensor]:
        at, tensors, tail = 0, [], memoryview(self.whole)[self.head :]
        for found in _outputs(self.whole) if self.found is None else self.found:
            size = found.parameters.get("binary_data_size")
            shape = tuple(found.shape)
            if size is None:
                tensors.append(from_json(found.name, found.datatype, shape, found.data))
                continue
            assert isinstance(size, int)
            tensors.append(check(Tensor(found.name, found.datatype, shape, tail[at : at + size])))
            at += size
        return tensors


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A message on the wire: body parts in order and the length of the JSON head (None: the body is JSON throughout)."""

    parts: tuple[bytes | memoryview, ...]
    head: int | None

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that describe the body."""
        if self.head is None:
            return (("content-type", JSON),)
        return (("content-type", BINARY), (LENGTH_HEADER, str(self.head)))


class _Envelope(msgspec.Struct, frozen=True):
    """What a request's JSON says once it has been found to hold; `tail` is how many bytes must follow it."""

    message: _Request
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[RequestedOutput, ...]
    tail: int
    verbatim: bool


def decode_request(
    body: bytes, length: str | None, model: str, version: str, headers: tuple[tuple[str, str], ...] = ()
) -> InferenceRequest:
    """A client's body as a request; `length` is the Inference-Header-Content-Length header. Raises INVALID."""
    head = _head_length(length, len(body))
    if head is None:
        envelope = _envelope(body)
    elif head <= _REMEMBERED_BYTES and b'"data"' not in (block := body[:head]):  # nobody's tensors are kept
        envelope = _remembered(block)
    else:
        envelope = _envelope(memoryview(body)[:head])
    tail = 0 if head is None else len(body) - head
    if envelope.tail != tail:
        raise invalid(
            f"the inputs claim {envelope.tail} bytes of binary data in all, {tail} follow the JSON head: check binary_data_size",
            "binary-size",
        )
    message = envelope.message
    payload = HttpPayload(body, head, message.inputs, envelope.verbatim)
    return InferenceRequest(model, version, message.id, message.parameters, envelope.inputs, envelope.outputs, payload, headers)


def _envelope(head: bytes | memoryview) -> _Envelope:
    """Reads and checks a request's JSON."""
    message = _parse_request(head)
    inputs, tail = _specs(message.inputs)
    _refuse_shared_memory(message.parameters, "the request")
    outputs = tuple(RequestedOutput(output.name, output.parameters) for output in message.outputs)
    for output in outputs:
        _refuse_shared_memory(output.parameters, f"output '{output.name}'")
    # Two parsers may read an escaped or repeated key differently: what could name shared memory is written anew, not passed on.
    text = bytes(head)
    suspicious = b"shared_memory" in text or b"\\u" in text
    return _Envelope(message, inputs, outputs, tail, not suspicious)


# Clients that send tensors in binary repeat the same short head for the same shapes: 0.3 µs in place of 8.
_REMEMBERED_BYTES = 2048
_remembered = lru_cache(maxsize=1024)(_envelope)


def _head_length(length: str | None, size: int) -> int | None:
    if length is None:
        return None
    if not length.isascii() or not length.isdigit() or len(length) > 10:
        raise invalid("Inference-Header-Content-Length is not a whole number of bytes", "head-length")
    head = int(length)
    if not 0 < head <= size:
        raise invalid(
            f"Inference-Header-Content-Length is {head} of {size} bytes: give the JSON head's own length",
            "head-length",
        )
    return head


def _parse_request(head: bytes | memoryview) -> _Request:
    try:
        message = _read_request(head)
    except msgspec.ValidationError as error:
        raise invalid(f"the request's JSON does not fit the Open Inference Protocol: {error}", "json") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise invalid(f"the request's JSON cannot be read: {str(error)[:200]}", "json") from None
    if not 0 < len(message.inputs) <= MAX_TENSORS or len(message.outputs) > MAX_TENSORS:
        raise invalid(f"a request has 1 to {MAX_TENSORS} inputs and at most as many outputs", "inputs")
    return message


def _specs(inputs: Sequence[_Input]) -> tuple[tuple[TensorSpec, ...], int]:
    """The tensors as specs, and how many bytes they claim to have behind the JSON."""
    specs, names, claimed = [], set(), 0
    for found in inputs:
        if found.name in names:
            raise invalid(f"input '{found.name[:64]}' is given twice", "inputs")
        names.add(found.name)
        claimed += _claim(found)
        specs.append(TensorSpec(found.name, found.datatype, tuple(found.shape), found.parameters))
    return tuple(specs), claimed


def _claim(found: _Input) -> int:
    """How many bytes behind the head this input says are its own; checked against its shape where the datatype fixes the size."""
    _refuse_shared_memory(found.parameters, f"input '{found.name[:64]}'")
    if found.datatype not in DATATYPES:
        raise invalid(
            f"input '{found.name[:64]}' has unknown datatype '{found.datatype[:16]}': use one of {', '.join(sorted(DATATYPES))}",
            "datatype",
        )
    count = elements(found.shape, found.name)
    size = found.parameters.get("binary_data_size")
    if size is None:
        if not len(memoryview(found.data)):
            raise invalid(f"input '{found.name}' has neither 'data' nor 'binary_data_size'", "inputs")
        given = elements_in(found.name, found.datatype, found.data)
        if given != count:  # Triton would answer 500
            raise invalid(f"input '{found.name}' has {given} elements; shape {found.shape} needs {count}", "shape")
        return 0
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise invalid(f"input '{found.name}': binary_data_size is not a whole number of bytes", "binary-size")
    if len(memoryview(found.data)):
        raise invalid(f"input '{found.name}' has both 'data' and 'binary_data_size': give one", "inputs")
    if found.datatype != BYTES and size != count * DTYPES[found.datatype].itemsize:
        expected = count * DTYPES[found.datatype].itemsize
        raise invalid(f"input '{found.name}' claims {size} bytes; {found.datatype} {found.shape} needs {expected}", "shape")
    return size


def _refuse_shared_memory(parameters: Parameters, where: str) -> None:
    for name in parameters:
        if name.startswith("shared_memory"):
            raise invalid(f"{where} names shared memory, which is never passed on: send the tensor itself", "shared-memory")


def encode_request(request: InferenceRequest) -> Encoded:
    """The request for a backend: the client's own bytes where they may pass, else binary throughout."""
    payload = request.payload
    if isinstance(payload, HttpPayload) and payload.verbatim:
        return Encoded((payload.whole,), payload.head)
    tensors = payload.tensors()
    message: dict[str, Any] = {"inputs": [_binary_entry(tensor) for tensor in tensors]}
    parameters = dict(request.parameters)
    if request.id:
        message["id"] = request.id
    if request.outputs:
        message["outputs"] = [
            {"name": output.name, "parameters": {**output.parameters, "binary_data": True}} for output in request.outputs
        ]
    else:
        parameters["binary_data_output"] = True
    if parameters:
        message["parameters"] = parameters
    head = _encode(message)
    return Encoded((head, *(tensor.data for tensor in tensors)), len(head))


def _binary_entry(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
        "parameters": {"binary_data_size": len(tensor.data)},
    }


def decode_response(body: bytes, length: str | None, source: str, verbatim: bool) -> InferenceResponse:
    """A backend's body as a response. `verbatim`: the question passed as the client's bytes, so the answer may too.

    Raises BROKEN: what a backend sends is never the client's mistake.
    """
    try:
        head = _head_length(length, len(body))
        if verbatim and head is None and body[:1] == b"{" and body[-1:] == b"}" and _NAME in body:
            return InferenceResponse(
                "", version_in(body), "", {}, HttpPayload(body, None, None, True)
            )  # nobody needs its numbers
        if head is not None and head <= _REMEMBERED_BYTES and b'"data"' not in (block := body[:head]):
            message, claimed, named = _remembered_answer(block)
        else:
            message, claimed, named = _answer(body[:head])
        if claimed != (0 if head is None else len(body) - head):
            raise invalid("the outputs' lengths do not add up")
    except (InferenceError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InferenceError(
            ErrorKind.BROKEN, f"backend '{source}' sent an answer that cannot be read", source=source, reason="bad-answer"
        ) from error
    payload = HttpPayload(body, head, message.outputs, verbatim and named)
    return InferenceResponse(message.model_name, message.model_version, message.id, message.parameters, payload)


_NAME, _VERSION = b'"model_name":"', b'"model_version":"'


def _answer(head: bytes) -> tuple[_Response, int, bool]:
    """An answer's JSON, the bytes it claims behind it, and whether `_renamed` will find the name (not if written with spaces)."""
    message = _read_response(head)
    return message, _specs(message.outputs)[1], _NAME in head


def _outputs(body: bytes) -> Sequence[_Input]:
    """The outputs of an answer that is JSON throughout. Raises BROKEN."""
    try:
        return _answer(body)[0].outputs
    except (InferenceError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InferenceError(ErrorKind.BROKEN, "the backend sent an answer that cannot be read", reason="bad-answer") from error


_remembered_answer = lru_cache(maxsize=1024)(_answer)


def version_in(body: bytes) -> str:
    """The model version that a JSON answer names, without parsing its tensors.

    Inside a JSON string every quote is escaped, so this byte sequence is a key; Triton writes it before any other object.
    """
    at = body.find(_VERSION)
    end = body.find(b'"', at + len(_VERSION), at + len(_VERSION) + 64) if at >= 0 else -1
    return body[at + len(_VERSION) : end].decode("ascii", "replace") if end > 0 else ""


def encode_response(response: InferenceResponse, request: InferenceRequest) -> Encoded:
    """The answer in the form its client asked for: per output JSON or binary, under the public model name."""
    payload = response.payload
    if isinstance(payload, HttpPayload) and payload.verbatim:
        return _renamed(payload, request.model)
    asked = {output.name: output.parameters for output in request.outputs}
    always = request.parameters.get("binary_data_output") is True
    outputs: list[dict[str, Any]] = []
    tail: list[bytes | memoryview] = []
    for tensor in payload.tensors():
        if asked.get(tensor.name, {}).get("binary_data", always) is True:
            outputs.append(_binary_entry(tensor))
            tail.append(tensor.data)
        else:
            outputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": to_json(tensor)})
    message: dict[str, Any] = {"model_name": request.model, "model_version": response.version, "outputs": outputs}
    if request.id:
        message["id"] = request.id
    if response.parameters:
        message["parameters"] = dict(response.parameters)
    head = _encode(message)
    return Encoded((head, *tail), len(head) if tail else None)


def _renamed(payload: HttpPayload, model: str) -> Encoded:
    """The backend's own bytes, with the public model name in place of its own where they differ."""
    body, head = payload.whole, payload.head
    start = body.find(_NAME, 0, head) + len(_NAME)
    end = body.find(b'"', start, start + 256)
    name = model.encode()
    if end < 0 or body[start:end] == name:
        return Encoded((body,), head)
    parts = (body[:start] + name, memoryview(body)[end:])
    return Encoded(parts, None if head is None else head + len(name) - (end - start))


def error_body(message: str) -> bytes:
    """The protocol's error object."""
    return _encode({"error": message})


def error_text(body: bytes) -> str:
    """The text of a backend's error object, or nothing if it is none."""
    try:
        found: Mapping[str, Any] = msgspec.json.decode(body)
        return str(found["error"])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, KeyError, TypeError):
        return ""
