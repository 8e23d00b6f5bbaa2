"""The Open Inference Protocol's gRPC messages: read strictly, and written without copying tensors through protobuf.

Sources: Open Inference Protocol v2 gRPC (grpc_service.proto) with Triton's uint64 and double parameters and ModelStreamInfer.
Raw contents are kept beside the message as `bytes` and framed by hand behind it: a field may stand anywhere in a serialised
message (protobuf encoding, "Last One Wins"), and upb's serialiser takes five times as long for a large one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import (
    InferenceRequest,
    InferenceResponse,
    Parameter,
    Parameters,
    RequestedOutput,
    TensorSpec,
    names_itself,
)
from backends.parameters import check_output, check_request, refuse_shared_memory
from backends.tensors import BYTES, DATATYPES, DTYPES, Tensor, check, elements, pack_bytes

Message = Any  # a protobuf message; the generated classes come without types

SERVICE: Final = "inference.GRPCInferenceService"
MAX_TENSORS = 1024
_RAW_INPUTS, _RAW_OUTPUTS, _INFER_RESPONSE = 7, 6, 2  # field numbers in grpc_service.proto
_TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
_HTTP_ONLY = frozenset({"binary_data", "binary_data_size", "binary_data_output"})  # mean nothing here


class GrpcPayload:
    """Tensors still in the form their message had: `raws` as many as `specs`, or else `typed` messages with their contents.

    `source` is the backend that sent them, or "" for a client: it decides whose fault it is that they cannot be read.
    """

    __slots__ = ("_decoded", "_source", "raws", "specs", "typed")

    def __init__(self, specs: tuple[TensorSpec, ...], raws: tuple[bytes, ...], typed: Sequence[Message], source: str) -> None:
        self.specs = specs
        self.raws = raws
        self.typed = typed
        self._source = source
        self._decoded: tuple[Tensor, ...] | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, checked against its datatype and shape."""
        if self._decoded is None:
            try:
                self._decoded = tuple(self._each())
            except InferenceError as error:
                raise (_unreadable(self._source) if self._source else error) from None
        return self._decoded

    def _each(self) -> Iterator[Tensor]:
        if self.raws:
            for spec, raw in zip(self.specs, self.raws, strict=True):
                yield check(Tensor(spec.name, spec.datatype, spec.shape, raw))
        else:
            for spec, part in zip(self.specs, self.typed, strict=True):
                yield check(Tensor(spec.name, spec.datatype, spec.shape, _pack(spec, part.contents)))


def decode_request(wire: bytes, headers: tuple[tuple[str, str], ...] = ()) -> InferenceRequest:
    """A client's ModelInferRequest. Raises INVALID: not such a message, or one whose counts, shapes or lengths do not hold."""
    try:
        message = service_pb2.ModelInferRequest.FromString(wire)
    except DecodeError:
        raise invalid("the message is not a ModelInferRequest of the Open Inference Protocol", "protobuf") from None
    if not 0 < len(message.inputs) <= MAX_TENSORS or len(message.outputs) > MAX_TENSORS:
        raise invalid(f"a request has 1 to {MAX_TENSORS} inputs and at most as many outputs", "inputs")
    parameters = _parameters(message.parameters, "the request")
    outputs = tuple(
        RequestedOutput(output.name, _parameters(output.parameters, f"output '{output.name[:64]}'")) for output in message.outputs
    )
    check_request(parameters)
    for output in outputs:
        check_output(output.parameters, output.name)
    payload = _payload(message.inputs, message.raw_input_contents, "")
    return InferenceRequest(
        message.model_name, message.model_version, message.id, parameters, payload.specs, outputs, payload, headers
    )


def decode_response(wire: bytes, source: str) -> InferenceResponse:
    """A backend's ModelInferResponse. Raises BROKEN: what a backend sends is never the client's mistake."""
    try:
        return _response(service_pb2.ModelInferResponse.FromString(wire), source)
    except (DecodeError, InferenceError) as error:
        raise _unreadable(source) from error


def decode_stream_response(wire: bytes, source: str) -> InferenceResponse | str:
    """One ModelStreamInferResponse: an answer, or the text of its error (it has no status of its own). Raises BROKEN."""
    try:
        message = service_pb2.ModelStreamInferResponse.FromString(wire)
        return str(message.error_message) or _response(message.infer_response, source)
    except (DecodeError, InferenceError) as error:
        raise _unreadable(source) from error


def encode_request(request: InferenceRequest) -> bytes:
    """The request as a ModelInferRequest; tensors that came over gRPC go on as they came. Raises INVALID if it does not fit."""
    try:
        message = service_pb2.ModelInferRequest(model_name=request.model, model_version=request.version, id=request.id)
        _set_parameters(message.parameters, request.parameters)
        for output in request.outputs:
            _set_parameters(message.outputs.add(name=output.name).parameters, output.parameters)
        raws = _fill(message.inputs, request)
        return b"".join((message.SerializeToString(), *_framed(_RAW_INPUTS, raws)))
    except ValueError as error:  # protobuf's word for numbers past 64 bits and for text that is no UTF-8
        raise invalid(f"a name, shape or parameter does not fit a gRPC message: {str(error)[:100]}", "protobuf") from None


def encode_response(response: InferenceResponse, request: InferenceRequest) -> bytes:
    """The answer as a ModelInferResponse, under the public model name and with the client's own id."""
    message = service_pb2.ModelInferResponse(model_name=request.model, model_version=response.version, id=request.id)
    _set_parameters(message.parameters, response.parameters)
    raws = _fill(message.outputs, response)
    return b"".join((message.SerializeToString(), *_framed(_RAW_OUTPUTS, raws)))


def encode_stream_response(response: InferenceResponse, request: InferenceRequest) -> bytes:
    """The answer as a ModelStreamInferResponse."""
    return b"".join(_framed(_INFER_RESPONSE, (encode_response(response, request),)))


def plain(message: Message) -> dict[str, Any]:
    """The message as the JSON object of the protocol's HTTP form: its own field names, empty fields, too.

    64-bit integers are numbers as in Triton's HTTP form; protobuf's own JSON writes them as strings.
    """
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            nested = entry.fields_by_name["value"].message_type is not None
            found[field.name] = {str(key): plain(value[key]) if nested else value[key] for key in value}
        elif field.is_repeated:
            found[field.name] = [_plain_value(field, item) for item in value]
        else:
            found[field.name] = _plain_value(field, value)
    return found


def _plain_value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value


def _response(message: Message, source: str) -> InferenceResponse:
    if not names_itself(message.model_name, message.model_version):
        raise invalid("the model's name or version is too long or not printable")
    payload = _payload(message.outputs, message.raw_output_contents, source)
    parameters = _parameters(message.parameters, "the response")
    return InferenceResponse(message.model_name, message.model_version, message.id, parameters, payload)


def _payload(parts: Sequence[Message], contents: Sequence[bytes], source: str) -> GrpcPayload:
    """Names, shapes and lengths are checked here; the elements only when somebody looks at them."""
    raws = tuple(contents)  # upb copies: these own their bytes, and the message they came in can go
    specs = tuple(_spec(part) for part in parts)  # first: who names shared memory in place of contents is to hear of that
    if raws and len(raws) != len(parts):
        raise invalid(f"{len(raws)} raw contents for {len(parts)} inputs: give one for each, in the same order", "raw-contents")
    if len({spec.name for spec in specs}) != len(specs):
        raise invalid("an input is given twice", "inputs")
    for index, (part, spec) in enumerate(zip(parts, specs, strict=True)):
        if not raws:
            _check_typed(part, spec)
        elif part.HasField("contents") and part.contents.ListFields():
            raise invalid(f"input '{spec.name[:64]}' has both raw and typed contents: give one", "raw-contents")
        elif spec.datatype != BYTES:
            check(Tensor(spec.name, spec.datatype, spec.shape, raws[index]))
    return GrpcPayload(specs, raws, () if raws else parts, source)


def _spec(part: Message) -> TensorSpec:
    name, datatype, shape = part.name, part.datatype, tuple(part.shape)
    if datatype not in DATATYPES:
        raise invalid(
            f"input '{name[:64]}' has unknown datatype '{datatype[:16]}': use one of {', '.join(sorted(DATATYPES))}", "datatype"
        )
    elements(shape, name[:64])
    return TensorSpec(name, datatype, shape, _parameters(part.parameters, f"input '{name[:64]}'"))


def _check_typed(part: Message, spec: TensorSpec) -> None:
    """That the contents stand in the datatype's own field and are as many as the shape says."""
    name, field = spec.name[:64], _TYPED.get(spec.datatype)
    if field is None:
        raise invalid(f"input '{name}' is {spec.datatype}, which has no typed contents: use raw_input_contents", "contents")
    wrong = [found.name for found, _ in part.contents.ListFields() if found.name != field]
    if wrong:
        raise invalid(f"input '{name}' is {spec.datatype}: its elements belong in {field}, found {wrong[0]}", "contents")
    found, expected = len(getattr(part.contents, field)), elements(spec.shape, name)
    if found != expected:
        raise invalid(f"input '{name}' has {found} elements in {field}; shape {list(spec.shape)} needs {expected}", "shape")


def _pack(spec: TensorSpec, contents: Message) -> bytes:
    """Typed contents as raw little-endian elements; narrow integers travel in wider fields and must fit."""
    values = getattr(contents, _TYPED[spec.datatype])
    if spec.datatype == BYTES:
        return pack_bytes(values)
    dtype = DTYPES[spec.datatype]
    if dtype.kind not in "iu":
        return np.fromiter(values, dtype, len(values)).tobytes()
    wide = np.fromiter(values, np.dtype("<u8" if dtype.kind == "u" else "<i8"), len(values))
    narrow = wide.astype(dtype)
    if not np.array_equal(wide, narrow):
        raise invalid(f"input '{spec.name[:64]}' holds a number out of the range of {spec.datatype}", "range")
    return narrow.tobytes()


def _fill(parts: Any, message: InferenceRequest | InferenceResponse) -> Sequence[bytes | memoryview]:
    """Adds the tensors' descriptions to `parts`; what is returned belongs behind the message as raw contents."""
    payload = message.payload
    if not isinstance(payload, GrpcPayload):
        tensors = payload.tensors()
        for tensor in tensors:
            parts.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return [tensor.data for tensor in tensors]
    if payload.typed:
        parts.extend(payload.typed)
        return ()
    for spec in payload.specs:
        _set_parameters(parts.add(name=spec.name, datatype=spec.datatype, shape=spec.shape).parameters, spec.parameters)
    return payload.raws


def _framed(number: int, values: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Length-delimited fields (protobuf encoding, wire type 2)."""
    tag = bytes((number << 3 | 2,))
    for value in values:
        yield tag + _varint(len(value))
        yield value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _parameters(parameters: Any, where: str) -> Parameters:
    refuse_shared_memory(parameters, where)
    found: dict[str, Parameter] = {}
    for name in parameters:
        choice = parameters[name].WhichOneof("parameter_choice")
        if choice is None:
            raise invalid(f"{where}: parameter '{name[:64]}' has no value", "parameters")
        found[name] = getattr(parameters[name], choice)
    return found


def _set_parameters(onto: Any, parameters: Parameters) -> None:
    for name, value in parameters.items():
        if name in _HTTP_ONLY:
            continue
        if isinstance(value, bool):
            onto[name].bool_param = value
        elif isinstance(value, int):
            setattr(onto[name], "int64_param" if value < 1 << 63 else "uint64_param", value)
        elif isinstance(value, float):
            onto[name].double_param = value
        else:
            onto[name].string_param = value


def _unreadable(source: str) -> InferenceError:
    return InferenceError(
        ErrorKind.BROKEN, f"backend '{source}' sent an answer that cannot be read", source=source, reason="bad-answer"
    )
