"""A Triton (or any Open Inference Protocol server) asked over gRPC: the transport for decoupled models, and others by choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError, readable
from backends.inference import LARGEST_ANSWER, Description, InferenceRequest, InferenceResponse
from backends.names import FRESH
from backends.protocols.v2_grpc import SERVICE, Message, decode_response, decode_stream_response, encode_request, plain
from backends.schedule import EXPIRED, Schedules, out_of_time, scheduled

# Triton 2.49+ then tells a model's own failure on a stream by a status. A question that it refuses, and any failure of an older
# one, is a text alone: these are how Triton 2.51's refusals begin.
_STATUS_PLEASE = ("triton_grpc_error", "true")
_REFUSALS = ("expected ", "unexpected ", "input ", "inference ")
_UNKNOWN = "Request for unknown model"
_UNREACHED = ("failed to connect to all addresses", "errors resolving ")  # grpc core's words: nothing was sent
_QUEUE = ("Exceeds maximum queue size", EXPIRED)  # Triton's dynamic batcher, with UNAVAILABLE
_DESCRIBE = {
    "metadata": ("ModelMetadata", service_pb2.ModelMetadataRequest),
    "config": ("ModelConfig", service_pb2.ModelConfigRequest),
    "stats": ("ModelStatistics", service_pb2.ModelStatisticsRequest),
}


class TritonGrpc:
    """One endpoint, over one HTTP/2 connection. Implements backends.inference.Backend.

    May be made without a running loop, and is used on one loop only. `source` is the backend's name, in errors and metrics;
    `schedules` may fill up later; `max_message`: bytes of an answer, or of one of a stream's.
    """

    def __init__(
        self, host: str, port: int, source: str, schedules: Schedules | None = None, max_message: int = LARGEST_ANSWER
    ) -> None:
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._source = source
        self._schedules = {} if schedules is None else schedules
        self._max_message = max_message
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Callable[..., Any]] = {}
        self._in_flight = 0
        self._left: asyncio.Event | None = None  # made by close(): set when nothing is in flight

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """ModelInfer."""
        wire = encode_request(scheduled(request, self._schedules, deadline))
        return decode_response(await self._ask("ModelInfer", wire, deadline, request.headers), self._source)

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        """ModelStreamInfer with one question: Triton ends a half-closed stream after the last answer."""
        wire = encode_request(scheduled(request, self._schedules, deadline))
        timeout = self._timeout(deadline)
        self._in_flight += 1
        call: Any = None
        try:
            metadata = (*_metadata(request.headers), _STATUS_PLEASE)
            call = self._call("ModelStreamInfer")((wire,), timeout=timeout, metadata=metadata)
            async for answer in call:
                response = decode_stream_response(answer, self._source)
                if isinstance(response, str):
                    raise self._failed(_status_in(response), response, deadline)
                yield response
        except (grpc.RpcError, grpc.aio.BaseError) as error:  # the second: grpc could not even start the call
            raise self._failure(error, deadline) from error
        finally:
            if call is not None:
                call.cancel()
            await self._leave()

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """ModelReady or ServerReady; a model that is not there is not ready."""
        if not model:
            return bool((await self._message("ServerReady", service_pb2.ServerReadyRequest(), deadline)).ready)
        asked = service_pb2.ModelReadyRequest(name=model, version=version)
        try:
            return bool((await self._message("ModelReady", asked, deadline)).ready)
        except InferenceError as error:
            if error.kind in (ErrorKind.NOT_FOUND, ErrorKind.INVALID):
                return False
            raise

    async def describe(self, what: Description, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        """ModelMetadata, ModelConfig or ModelStatistics."""
        method, form = _DESCRIBE[what]
        answer = await self._message(method, form(name=model, version=version), deadline)
        return plain(answer.config if what == "config" else answer)

    async def models(self, deadline: Deadline) -> tuple[str, ...]:
        """RepositoryIndex. Implements backends.inference.Repository."""
        answer = await self._message("RepositoryIndex", service_pb2.RepositoryIndexRequest(), deadline)
        return tuple(dict.fromkeys(each.name for each in answer.models))

    async def close(self) -> None:
        """Ends the connection as soon as nothing is in flight, and returns then.

        Late asks (of a request that still runs under an older snapshot) are answered, over a connection of their own.
        """
        if self._left is None:
            self._left = asyncio.Event()
        if self._in_flight:
            await self._left.wait()
        else:
            await self._disconnect()

    async def _message(self, method: str, asked: Message, deadline: Deadline) -> Message:
        wire = await self._ask(method, asked.SerializeToString(), deadline, ())
        try:
            return getattr(service_pb2, f"{method}Response").FromString(wire)
        except DecodeError as error:
            raise self._broken("sent an answer that cannot be read") from error

    async def _ask(self, method: str, wire: bytes, deadline: Deadline, headers: tuple[tuple[str, str], ...]) -> bytes:
        """One unary call; cancelled, the call is cancelled, too."""
        timeout = self._timeout(deadline)
        self._in_flight += 1
        try:
            answer: bytes = await self._call(method)(wire, timeout=timeout, metadata=_metadata(headers))
            return answer
        except (grpc.RpcError, grpc.aio.BaseError) as error:  # the second: grpc could not even start the call
            raise self._failure(error, deadline) from error
        finally:
            await self._leave()

    def _timeout(self, deadline: Deadline) -> float:
        """Seconds left; without any, nobody is asked."""
        remaining = deadline.remaining(asyncio.get_running_loop().time())
        if not remaining:
            raise self._late()
        return remaining

    def _call(self, method: str) -> Callable[..., Any]:
        """The channel's own callable for a method, in and out plain bytes."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=_options(self._max_message))
        call = self._calls.get(method)
        if call is None:
            make = self._channel.stream_stream if method == "ModelStreamInfer" else self._channel.unary_unary
            call = self._calls[method] = make(f"/{SERVICE}/{method}", None, None)
        return call

    async def _leave(self) -> None:
        self._in_flight -= 1
        if self._left is not None and not self._in_flight:
            await self._disconnect()
            self._left.set()

    async def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        self._calls.clear()
        if channel is not None:
            await channel.close()

    def _failure(self, error: Exception, deadline: Deadline) -> InferenceError:
        if isinstance(error, grpc.aio.AioRpcError):
            return self._failed(error.code(), error.details() or "", deadline)
        return self._broken("could not be asked")

    def _failed(self, status: grpc.StatusCode, text: str, deadline: Deadline) -> InferenceError:
        """What a status means. Only the texts of the client's own mistakes reach it, and of no stack trace."""
        source, words, text = self._source, readable(text), " ".join(text[:500].split())
        match status:
            case grpc.StatusCode.INVALID_ARGUMENT:
                return InferenceError(ErrorKind.INVALID, words or f"backend '{source}' refused the request", source=source)
            case grpc.StatusCode.NOT_FOUND:
                return InferenceError(ErrorKind.NOT_FOUND, "unknown model or version", source=source)
            case grpc.StatusCode.UNIMPLEMENTED:
                return InferenceError(ErrorKind.UNSUPPORTED, words or f"backend '{source}' does not offer this", source=source)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return self._late()
            case grpc.StatusCode.UNAVAILABLE if out_of_time(text, deadline):
                return self._late()
            case grpc.StatusCode.UNAVAILABLE if text.startswith(_UNREACHED):
                message = f"backend '{source}' could not be reached"
                return InferenceError(ErrorKind.UNAVAILABLE, message, source=source, retryable=True)
            case grpc.StatusCode.UNAVAILABLE if not text.endswith(_QUEUE):  # the question may have been asked already
                return self._broken("closed the connection before its answer was complete")
            case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in text:
                if "CLIENT: Received" in text:  # grpc core's words for our own limit
                    return self._broken(f"sent an answer of more than {self._max_message} bytes (limits.answer)")
                return InferenceError(ErrorKind.TOO_LARGE, f"the request is too large for backend '{source}'", source=source)
            case grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.UNAVAILABLE:
                message = f"backend '{source}' has no room now: try again"
                return InferenceError(ErrorKind.OVERLOADED, message, source=source, retryable=True)
            case _:
                return self._broken(f"failed with status {status.name}")

    def _late(self) -> InferenceError:
        return InferenceError(ErrorKind.DEADLINE, f"backend '{self._source}' did not answer in time", source=self._source)

    def _broken(self, what: str) -> InferenceError:
        return InferenceError(ErrorKind.BROKEN, f"backend '{self._source}' {what}", source=self._source)


def _status_in(text: str) -> grpc.StatusCode:
    """The status that Triton would give with this text on a unary call."""
    refusal = text.partition("] ")[2] if text.startswith("[request id: ") else text
    if refusal.startswith(_UNKNOWN):
        return grpc.StatusCode.NOT_FOUND
    if refusal.startswith(_REFUSALS):
        return grpc.StatusCode.INVALID_ARGUMENT
    return grpc.StatusCode.UNAVAILABLE if refusal.endswith(_QUEUE) else grpc.StatusCode.UNKNOWN


def _metadata(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Headers as metadata; what gRPC does not allow in one (it would fail the whole call) stays behind."""
    return tuple((name.lower(), value) for name, value in headers if value.isascii() and value.isprintable())


def _options(max_message: int) -> list[tuple[str, Any]]:
    """Channel arguments (grpc_types.h)."""
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", min(max_message, 2**31 - 1)),  # an int of C
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),  # in truth the time one attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.dns_min_time_between_resolutions_ms", int(FRESH * 1000)),  # its own is half a minute
        ("grpc.enable_http_proxy", 0),  # a backend is never behind the environment's proxy
        ("grpc.enable_retries", 0),  # retries are decided above, where there is a budget for them
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.use_local_subchannel_pool", 1),  # a connection of our own, which ends with us
    ]
