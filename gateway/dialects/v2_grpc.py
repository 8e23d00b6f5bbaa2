"""The Open Inference Protocol over gRPC as clients see it: statuses, metadata, and JSON descriptions as protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.json_format import ParseDict, ParseError
from tritonclient.grpc import service_pb2

from backends.errors import ErrorKind, InferenceError
from backends.inference import Description, InferenceRequest
from backends.protocols.v2_grpc import GrpcPayload, Message
from backends.tensors import BYTES
from gateway.dialects.reply import public_text, whole_seconds

Metadata = tuple[tuple[str, str], ...]

# Everything printable but "%": what gRPC allows in a value (PROTOCOL-HTTP2, "ASCII-Value").
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))

_NARROW = frozenset({"INT8", "INT16", "UINT8", "UINT16"})  # what travels in 32 bits as typed contents
_BYTES = frozenset({BYTES})

# Methods that are never passed on, each with what its caller can do instead.
_ADMIN = "models are loaded and unloaded by the operators of the gateway"
_MEMORY = "shared memory does not reach through a gateway: send the tensors in the message"
_VERBS = ("Status", "Register", "Unregister")
_SETTINGS = "trace and log settings belong to the backend's operators"
REFUSED: Mapping[str, InferenceError] = {
    method: InferenceError(kind, f"{method} is not offered here: {text}", source="client")
    for kind, text, methods in (
        (ErrorKind.FORBIDDEN, _ADMIN, ("RepositoryModelLoad", "RepositoryModelUnload")),
        (ErrorKind.FORBIDDEN, _SETTINGS, ("TraceSetting", "LogSettings")),
        (ErrorKind.UNSUPPORTED, _MEMORY, [f"{memory}SharedMemory{verb}" for memory in ("System", "Cuda") for verb in _VERBS]),
    )
    for method in methods
}


def status_of(kind: ErrorKind) -> grpc.StatusCode:
    """The status of a failure; RESOURCE_EXHAUSTED for size is what grpc itself says of a message that is too long."""
    match kind:
        case ErrorKind.INVALID:
            return grpc.StatusCode.INVALID_ARGUMENT
        case ErrorKind.UNAUTHENTICATED:
            return grpc.StatusCode.UNAUTHENTICATED
        case ErrorKind.FORBIDDEN:
            return grpc.StatusCode.PERMISSION_DENIED
        case ErrorKind.NOT_FOUND:
            return grpc.StatusCode.NOT_FOUND
        case ErrorKind.METHOD | ErrorKind.UNSUPPORTED:
            return grpc.StatusCode.UNIMPLEMENTED
        case ErrorKind.TOO_LARGE | ErrorKind.LIMITED:
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case ErrorKind.OVERLOADED | ErrorKind.UNAVAILABLE | ErrorKind.BROKEN:  # as HTTP's 502 and 503 are read by gRPC clients
            return grpc.StatusCode.UNAVAILABLE
        case ErrorKind.DEADLINE | ErrorKind.SLOW:
            return grpc.StatusCode.DEADLINE_EXCEEDED
        case ErrorKind.INTERNAL:
            return grpc.StatusCode.INTERNAL


def trailers(error: InferenceError) -> Metadata:
    """What goes beside an error's status: its bounded reason, and when to come back (whole seconds)."""
    found: Metadata = (("x-penstock-error", error.reason),)
    if error.retry_after is not None:
        found += (("retry-after", whole_seconds(error.retry_after)),)
    return found


def outgoing(headers: Iterable[tuple[str, str]]) -> Metadata:
    """Response headers as metadata: lower-case names, arrows as "->", and percent-encoded what gRPC cannot carry."""
    return tuple((name.lower(), _carried(value)) for name, value in headers)


def _carried(value: str) -> str:
    plain = value.isascii() and value.isprintable() and "%" not in value  # nearly always, and a tenth of the time
    return value if plain else quote(value.replace("→", "->"), safe=_PRINTABLE)


def incoming(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """A client's metadata by name, repeated values joined by ", ". Binary values and our internal names are left out."""
    found: dict[str, str] = {}
    for name, value in metadata:
        if isinstance(value, str) and not name.startswith("x-penstock-"):
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def may_lie(request: InferenceRequest) -> bool:
    """Whether its elements must be read to know that they hold: BYTES have lengths of their own, narrow integers a range.

    Everything else was found to hold by its size alone, and may pass unread.
    """
    payload = request.payload
    if not isinstance(payload, GrpcPayload):
        return False
    lying = _NARROW if payload.typed else _BYTES
    return any(spec.datatype in lying for spec in payload.specs)


def stream_error(error: InferenceError, id: str) -> bytes:
    """One message of a stream that failed, with the id its question had, as Triton tells it."""
    response = service_pb2.ModelInferResponse(id=id)
    message = service_pb2.ModelStreamInferResponse(error_message=public_text(error), infer_response=response)
    return bytes(message.SerializeToString())


def described(what: Description, found: Mapping[str, Any]) -> Message:
    """ModelMetadata-, ModelConfig- or ModelStatisticsResponse from the JSON object of the HTTP form."""
    match what:
        case "metadata":
            return _parsed(found, service_pb2.ModelMetadataResponse())
        case "config":
            return _parsed({"config": found}, service_pb2.ModelConfigResponse())
        case "stats":
            return _parsed(found, service_pb2.ModelStatisticsResponse())


def indexed(models: Sequence[Mapping[str, Any]], only_ready: bool) -> Message:
    """RepositoryIndexResponse from the JSON list of the HTTP form."""
    listed = [model for model in models if not only_ready or model.get("state") == "READY"]
    return _parsed({"models": listed}, service_pb2.RepositoryIndexResponse())


def server(found: Mapping[str, Any]) -> Message:
    """ServerMetadataResponse from the JSON object of the HTTP form."""
    return _parsed(found, service_pb2.ServerMetadataResponse())


def _parsed(found: Mapping[str, Any], onto: Message) -> Message:
    try:
        return ParseDict(found, onto, ignore_unknown_fields=True)
    except ParseError as error:
        message = "the backend's description does not fit the protocol"
        raise InferenceError(ErrorKind.BROKEN, message, reason="bad-answer") from error
