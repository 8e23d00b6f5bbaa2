"""The gRPC port: takes Open Inference Protocol calls off the wire, asks the application, and writes what it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import Description, InferenceRequest, InferenceResponse
from backends.protocols.v2_grpc import SERVICE, Message, decode_request, encode_response, encode_stream_response
from gateway.dialects import v2_grpc as dialect
from gateway.dialects.reply import public_text
from gateway.edge.leave import dismiss
from routing.principal import Principal

_log = logging.getLogger(__name__)
Servicer = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """How much clients may take: bytes of one message and of a call's metadata, and calls at once."""

    message: int = 64 * 1024 * 1024
    metadata: int = 32 * 1024
    calls: int = 10_000


@dataclass(frozen=True, slots=True)
class GrpcHead:
    """What is known of a call beside its message.

    `metadata` has lower-case names without the internal ones. `deadline` is in seconds from now, None where the client set
    none; `received` is the loop's monotonic time of the message, in seconds; `size` the message's bytes.
    `told` are the headers that an error of it carries; whoever learns more on the way writes it there.
    `principal` is who asks, once `admit` has said so.
    """

    metadata: Mapping[str, str]
    peer: str
    deadline: float | None
    received: float
    size: int = 0
    told: dict[str, str] = field(default_factory=dict)
    principal: Principal | None = None


@dataclass(frozen=True, slots=True)
class InferenceReply:
    """A response and the headers that say how it came about; on a stream only the first reply's headers can be sent."""

    response: InferenceResponse
    headers: tuple[tuple[str, str], ...] = ()


class GrpcApplication(Protocol):
    """Who answers. Raises InferenceError; cancelled when the client leaves or its deadline passes."""

    def identity(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The request's id and what else comes with every error."""
        ...

    async def admit(self, call: GrpcHead) -> Principal:
        """Who asks. Raises InferenceError for a stranger, before anything of the message is read."""
        ...

    def refused(self, error: InferenceError, call: GrpcHead, method: str) -> None:
        """Is told of a question that got no further than the port."""
        ...

    async def infer(self, request: InferenceRequest, call: GrpcHead) -> InferenceReply:
        """One question, one answer; the reply goes out under the request's own model name and id."""
        ...

    def stream(self, request: InferenceRequest, call: GrpcHead) -> AsyncIterator[InferenceReply]:
        """One question, any number of answers. Closed (`aclose`, if it has one) when the client leaves."""
        ...

    async def describe(self, what: Description, model: str, version: str, call: GrpcHead) -> dict[str, Any]:
        """The JSON object of the HTTP form."""
        ...

    async def live(self) -> bool:
        """Whether this process answers."""
        ...

    async def ready(self, model: str, version: str, call: GrpcHead) -> bool:
        """Whether the model is ready; with an empty name, whether the gateway is."""
        ...

    async def index(self, call: GrpcHead) -> list[dict[str, Any]]:
        """The JSON list of the repository index: name, version, state, reason."""
        ...

    async def server(self, call: GrpcHead) -> dict[str, Any]:
        """The JSON object of the server's metadata: name, version, extensions."""
        ...


class GrpcListener:
    """An open port. `port` is the one that was bound, also where any was asked for."""

    def __init__(self, server: grpc.aio.Server, calls: _Calls, port: int, shared: bool) -> None:
        self._server = server
        self._calls = calls
        self._shared = shared
        self.port = port

    async def drain(self, grace: float, idle: float = 0.0) -> None:
        """Sends clients away, lets calls in flight end for up to `grace` seconds, then cancels them and returns.

        A stream without a question under way has `idle` seconds for its next; then it is UNAVAILABLE.
        """
        begin = monotonic()
        self._calls.leave(idle)
        if grace:
            await dismiss(self.port, self._shared, self._calls.giving, min(idle, grace))
        await self._server.stop(max(0.0, begin + grace - monotonic()))


async def listen(app: GrpcApplication, host: str, port: int, limits: GrpcLimits, reuse_port: bool = False) -> GrpcListener:
    """Serves `app` from now on; with `reuse_port` beside others who do the same. Raises OSError if the port cannot be had."""
    options = [
        ("grpc.max_receive_message_length", limits.message),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.metadata),
        ("grpc.absolute_max_metadata_size", limits.metadata),  # else grpc starts refusing at random in between
        ("grpc.so_reuseport", int(reuse_port)),  # on by default: a second gateway would silently take half of the calls
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.calls)
    calls = _Calls(app)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, calls.methods()),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
    await server.start()
    return GrpcListener(server, calls, bound, reuse_port)


class _Calls:
    """The service's methods. Messages come and go as bytes, so that what cannot be read is answered in our own words."""

    def __init__(self, app: GrpcApplication) -> None:
        self._app = app
        self._leaving: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.giving = asyncio.Event()  # while it is not set, answers wait
        self.giving.set()

    def leave(self, idle: float) -> None:
        """Streams whose client asks nothing for so many seconds end from now on."""
        if not self._leaving.done():
            self._leaving.set_result(idle)

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Every method of the service by name."""
        asked: dict[str, Callable[[bytes, GrpcHead], Awaitable[Message]]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._describing("metadata", service_pb2.ModelMetadataRequest),
            "ModelConfig": self._describing("config", service_pb2.ModelConfigRequest),
            "ModelStatistics": self._describing("stats", service_pb2.ModelStatisticsRequest),
            "RepositoryIndex": self._index,
        }
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]]
        methods = {name: grpc.unary_unary_rpc_method_handler(self._answering(ask)) for name, ask in asked.items()}
        for name, error in dialect.REFUSED.items():
            methods[name] = grpc.unary_unary_rpc_method_handler(self._refusing(name, error))
        methods["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer)
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return methods

    async def _infer(self, wire: bytes, rpc: Servicer) -> bytes:
        head = self._head(rpc, len(wire))
        try:
            request, head = await self._read(wire, head, "ModelInfer")
            reply = await self._app.infer(request, head)
            answer = encode_response(reply.response, request)
        except Exception as error:  # noqa: BLE001 - the border: nothing of a defect but its status may get out
            return _ended(rpc, error, head)
        if not self.giving.is_set():
            await self.giving.wait()
        await rpc.send_initial_metadata(dialect.outgoing(reply.headers))
        return answer

    async def _stream(self, questions: AsyncIterator[bytes], rpc: Servicer) -> None:
        """Questions are asked one after the other, in order; the stream outlives a question that fails, as Triton's does."""
        headed = False
        async for wire in self._while_asked(questions, rpc):
            id, head = "", self._head(rpc, len(wire))
            try:
                request, head = await self._read(wire, head, "ModelStreamInfer")
                id = request.id
                async with _closing(self._app.stream(request, head)) as replies:
                    async for reply in replies:
                        answer = encode_stream_response(reply.response, request)
                        if not headed:
                            headed = True
                            await rpc.send_initial_metadata(dialect.outgoing(reply.headers))
                        await self.giving.wait()
                        await rpc.write(answer)
            except Exception as error:  # noqa: BLE001 - as above
                failure = _told(error)
                # Triton's clients ask for statuses in place of error messages by this header.
                if failure.kind is ErrorKind.UNAUTHENTICATED or head.metadata.get("triton_grpc_error") == "true":
                    _ended(rpc, failure, head)
                    return
                if not headed:
                    headed = True
                    await rpc.send_initial_metadata(dialect.outgoing(tuple(head.told.items())))
                await rpc.write(dialect.stream_error(failure, id))

    async def _while_asked(self, questions: AsyncIterator[bytes], rpc: Servicer) -> AsyncIterator[bytes]:
        """The questions, until there are no more, or this port is left and none comes: an open stream holds nobody up."""
        while True:
            asked = asyncio.ensure_future(anext(questions, None))
            try:
                await asyncio.wait((asked, self._leaving), return_when=asyncio.FIRST_COMPLETED)
                if not asked.done():
                    await asyncio.wait((asked,), timeout=self._leaving.result())
                if not asked.done():
                    await rpc.abort(grpc.StatusCode.UNAVAILABLE, "this gateway is stopping: open the stream anew")
            finally:
                asked.cancel()
            wire = asked.result()
            if wire is None:
                return
            yield wire

    def _head(self, rpc: Servicer, size: int) -> GrpcHead:
        metadata = dialect.incoming(rpc.invocation_metadata() or ())
        return GrpcHead(metadata, _peer(rpc.peer()), rpc.time_remaining(), monotonic(), size, self._app.identity(metadata))

    async def _read(self, wire: bytes, head: GrpcHead, method: str) -> tuple[InferenceRequest, GrpcHead]:
        """The question, once its sender is known to be no stranger, and the head that says who it is."""
        try:
            head = replace(head, principal=await self._app.admit(head))
            return decode_request(wire), head
        except InferenceError as error:
            self._app.refused(error, head, method)
            raise

    def _answering(self, ask: Callable[[bytes, GrpcHead], Awaitable[Message]]) -> Callable[[bytes, Servicer], Awaitable[bytes]]:
        async def answer(wire: bytes, rpc: Servicer) -> bytes:
            head = self._head(rpc, len(wire))
            try:
                message: bytes = (await ask(wire, head)).SerializeToString()
            except Exception as error:  # noqa: BLE001 - the border: nothing of a defect but its status may get out
                return _ended(rpc, error, head)
            return message

        return answer

    def _refusing(self, method: str, error: InferenceError) -> Callable[[bytes, Servicer], Awaitable[bytes]]:
        async def refuse(wire: bytes, rpc: Servicer) -> bytes:
            head = self._head(rpc, len(wire))
            self._app.refused(error, head, method)
            return _ended(rpc, error, head)

        return refuse

    async def _server_live(self, wire: bytes, head: GrpcHead) -> Message:
        return service_pb2.ServerLiveResponse(live=await self._app.live())

    async def _server_ready(self, wire: bytes, head: GrpcHead) -> Message:
        return service_pb2.ServerReadyResponse(ready=await self._app.ready("", "", head))

    async def _server_metadata(self, wire: bytes, head: GrpcHead) -> Message:
        return dialect.server(await self._app.server(head))

    async def _model_ready(self, wire: bytes, head: GrpcHead) -> Message:
        asked = _read(service_pb2.ModelReadyRequest, wire)
        if not asked.name:
            raise invalid("the model's name is missing")
        return service_pb2.ModelReadyResponse(ready=await self._app.ready(asked.name, asked.version, head))

    async def _index(self, wire: bytes, head: GrpcHead) -> Message:
        asked = _read(service_pb2.RepositoryIndexRequest, wire)
        return dialect.indexed(await self._app.index(head), asked.ready)

    def _describing(self, what: Description, form: Any) -> Callable[[bytes, GrpcHead], Awaitable[Message]]:
        async def describe(wire: bytes, head: GrpcHead) -> Message:
            asked = _read(form, wire)
            return dialect.described(what, await self._app.describe(what, asked.name, asked.version, head))

        return describe


@asynccontextmanager
async def _closing(replies: AsyncIterator[InferenceReply]) -> AsyncIterator[AsyncIterator[InferenceReply]]:
    """Closes a generator that is left early, so that its question ends then and not when memory is tidied."""
    try:
        yield replies
    finally:
        if isinstance(replies, AsyncGenerator):
            await replies.aclose()


def _ended(rpc: Servicer, error: Exception, head: GrpcHead) -> bytes:
    """Gives the call the error's status, under the request's identity; what is returned is not sent.

    `abort` does the same by an exception that grpc keeps: its frames hold the call, which holds it, until a collection.
    """
    failure = _told(error)
    rpc.set_code(dialect.status_of(failure.kind))
    rpc.set_details(public_text(failure))
    rpc.set_trailing_metadata(dialect.outgoing((*head.told.items(), *dialect.trailers(failure))))
    return b""


def _told(error: Exception) -> InferenceError:
    if isinstance(error, InferenceError):
        return error
    _log.error("a gRPC call failed by a defect", exc_info=error)
    return InferenceError(ErrorKind.INTERNAL, "the gateway failed; the fault is in its log")


def _peer(name: str) -> str:
    """`ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000` as address and port."""
    return unquote(name.partition(":")[2])


def _read(form: Any, wire: bytes) -> Message:
    try:
        return form.FromString(wire)
    except DecodeError:
        raise invalid("the message is not one of the Open Inference Protocol's", "protobuf") from None
