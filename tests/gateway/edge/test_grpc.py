"""The gRPC port, asked by the upstream client library unchanged, over a small application that keeps what it was asked."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from backends.errors import ErrorKind, InferenceError
from backends.inference import Description, InferenceRequest, InferenceResponse, Tensors
from backends.tensors import Tensor
from gateway.edge.grpc import GrpcHead, GrpcLimits, GrpcListener, InferenceReply, listen
from routing.principal import Principal

HEADERS = (("X-Request-Id", "r1"), ("X-Penstock-Route", "default"))


class Recording:
    """Gives every tensor back; fails, hangs and streams as it is told to."""

    def __init__(self) -> None:
        self.requests: list[InferenceRequest] = []
        self.heads: list[GrpcHead] = []
        self.failure: Exception | None = None
        self.hang = self.stranger = False
        self.refusals: list[tuple[str, str]] = []
        self.knows: dict[str, str] = {}
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.go = asyncio.Event()

    async def _seen(self, call: GrpcHead) -> None:
        self.heads.append(call)
        call.told.update(self.knows)
        if self.failure is not None:
            raise self.failure
        if self.hang:
            self.entered.set()
            try:
                await self.go.wait()
            finally:
                self.left.set()

    def identity(self, metadata: Mapping[str, str]) -> dict[str, str]:
        return {"x-request-id": metadata.get("x-request-id", "made")}

    async def admit(self, call: GrpcHead) -> Principal:
        if self.stranger:
            raise InferenceError(ErrorKind.UNAUTHENTICATED, "who are you?")
        return Principal("ann")

    def refused(self, error: InferenceError, call: GrpcHead, method: str) -> None:
        self.refusals.append((method, error.kind.value))

    async def infer(self, request: InferenceRequest, call: GrpcHead) -> InferenceReply:
        self.requests.append(request)
        await self._seen(call)
        return InferenceReply(InferenceResponse("hidden", "7", "", {}, Tensors(request.payload.tensors())), HEADERS)

    async def stream(self, request: InferenceRequest, call: GrpcHead) -> AsyncIterator[InferenceReply]:
        self.requests.append(request)
        if request.model == "failing":
            raise InferenceError(ErrorKind.INVALID, "wrong shape")
        (tensor,) = request.payload.tensors()
        for value in tensor.array():
            answer = Tensor("OUT", "INT32", (1,), value.tobytes())
            yield InferenceReply(InferenceResponse("hidden", "7", "", {"last": bool(value == 2)}, Tensors((answer,))), HEADERS)
        await self._seen(call)

    async def describe(self, what: Description, model: str, version: str, call: GrpcHead) -> dict[str, Any]:
        await self._seen(call)
        if what == "stats":
            return {"model_stats": [{"name": model, "version": version, "inference_count": 3}]}
        return {"name": model, "versions": ["7"]} if what == "metadata" else {"name": model, "max_batch_size": 8}

    async def live(self) -> bool:
        return True

    async def ready(self, model: str, version: str, call: GrpcHead) -> bool:
        await self._seen(call)
        return model in ("", "m")

    async def index(self, call: GrpcHead) -> list[dict[str, Any]]:
        await self._seen(call)
        return [{"name": "m", "version": "7", "state": "READY", "reason": ""}]

    async def server(self, call: GrpcHead) -> dict[str, Any]:
        return {"name": "penstock", "version": "0", "extensions": ["binary_tensor_data"]}


@pytest.fixture
async def app() -> Recording:
    """The application behind the port."""
    return Recording()


@pytest.fixture
async def listener(app: Recording) -> AsyncIterator[GrpcListener]:
    """An open port."""
    listener = await listen(app, "127.0.0.1", 0, GrpcLimits(message=1 << 20, calls=4))
    yield listener
    await listener.drain(0)


@pytest.fixture
async def client(listener: GrpcListener) -> AsyncIterator[tritonclient.grpc.aio.InferenceServerClient]:
    """The upstream asyncio client."""
    async with tritonclient.grpc.aio.InferenceServerClient(f"127.0.0.1:{listener.port}") as client:
        yield client


@pytest.fixture
async def stub(listener: GrpcListener) -> AsyncIterator[Any]:
    """The bare service, for what the upstream client does not show."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def numbers() -> list[Any]:
    """Three numbers as the upstream client's input."""
    given = tritonclient.grpc.InferInput("IN", [3], "INT32")
    given.set_data_from_numpy(np.arange(3, dtype=np.int32))
    return [given]


def message(model: str = "m", id: str = "q") -> Any:
    """Three numbers as a protobuf message."""
    found = service_pb2.ModelInferRequest(model_name=model, id=id, raw_input_contents=[np.arange(3, dtype=np.int32).tobytes()])
    found.inputs.add(name="IN", datatype="INT32", shape=[3])
    return found


async def test_infer(client: Any, app: Recording) -> None:
    """The upstream asyncio client gets its tensors back under the name and id it used."""
    asked = [tritonclient.grpc.InferRequestedOutput("IN", class_count=2)]
    headers = {"authorization": "Bearer t", "x-penstock-route": "x"}
    answer = await client.infer("m", numbers(), model_version="3", outputs=asked, request_id="q", headers=headers)
    assert answer.as_numpy("IN").tolist() == [0, 1, 2]
    response = answer.get_response()
    assert (response.model_name, response.model_version, response.id) == ("m", "7", "q")
    (request,), (head,) = app.requests, app.heads
    assert (request.model, request.version, request.id, request.outputs[0].parameters["classification"]) == ("m", "3", "q", 2)
    assert (head.metadata["authorization"], head.metadata.get("x-penstock-route")) == ("Bearer t", None)
    assert head.peer.rpartition(":")[0] == "127.0.0.1"
    assert head.received <= time.monotonic()


async def test_the_synchronous_client(listener: GrpcListener) -> None:
    """The upstream synchronous client works unchanged, streams included."""

    def ask() -> tuple[Any, list[Any]]:
        found: queue.Queue[Any] = queue.Queue()
        with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{listener.port}") as client:
            unary = client.infer("m", numbers()).as_numpy("IN").tolist()
            client.start_stream(lambda result, error: found.put((result, error)))
            for model in ("m", "failing", "m"):
                client.async_stream_infer(model, numbers())
            streamed = [found.get(timeout=10) for _ in range(7)]
            client.stop_stream()
        return unary, streamed

    unary, streamed = await asyncio.to_thread(ask)
    assert unary == [0, 1, 2]
    answers = [result.as_numpy("OUT").tolist() if error is None else error.message() for result, error in streamed]
    assert answers == [[0], [1], [2], "wrong shape", [0], [1], [2]]


async def test_headers_are_metadata(stub: Any) -> None:
    """How an answer came about is told in initial metadata, in lower case, of the first answer on a stream."""
    call = stub.ModelInfer(message())
    await call
    assert {"x-request-id": "r1", "x-penstock-route": "default"}.items() <= dict(await call.initial_metadata()).items()
    stream = stub.ModelStreamInfer([message()])
    assert [answer.infer_response.parameters["last"].bool_param async for answer in stream] == [False, False, True]
    assert dict(await stream.initial_metadata())["x-request-id"] == "r1"


async def test_a_stream_outlives_a_question_that_fails(stub: Any, app: Recording) -> None:
    """Questions on one stream are answered in order, and one that fails or cannot be read has an error message in its place."""
    unreadable = message(id="q3")
    unreadable.raw_input_contents.append(b"")
    stream = stub.ModelStreamInfer([message(id="q1"), message("failing", "q2"), unreadable, message(id="q4")])
    found = [(answer.infer_response.id, answer.error_message) async for answer in stream]
    assert found[:4] == [("q1", "")] * 3 + [("q2", "wrong shape")]
    assert "2 raw contents" in found[4][1]
    assert found[5:] == [("q4", "")] * 3


@pytest.mark.parametrize("metadata", [(), (("triton_grpc_error", "true"),)])
async def test_what_ends_a_stream(stub: Any, app: Recording, metadata: tuple[tuple[str, str], ...]) -> None:
    """A credential that does not hold ends a stream; any error does for clients that ask for statuses."""
    kind = ErrorKind.INVALID if metadata else ErrorKind.UNAUTHENTICATED
    app.failure = InferenceError(kind, "no")
    stream = stub.ModelStreamInfer([message()] * 2, metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        assert [answer async for answer in stream if answer.error_message] == []
    assert kind.name in caught.value.code().name
    assert len(app.requests) == 1


async def test_errors(stub: Any, app: Recording) -> None:
    """A failure is a status, its text, its bounded reason and when to come back; a defect tells nothing of itself."""
    app.failure = InferenceError(ErrorKind.LIMITED, "slower", reason="quota", retry_after=2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(message())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "slower")
    assert dict(caught.value.trailing_metadata() or ()) == {
        "x-request-id": "made",
        "x-penstock-error": "quota",
        "retry-after": "2",
    }
    app.failure = ValueError("secret")
    for call in (stub.ModelInfer(message()), stub.ModelConfig(service_pb2.ModelConfigRequest(name="m"))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        assert "secret" not in (caught.value.details() or "")


async def test_bytes_that_are_no_message(listener: GrpcListener) -> None:
    """Bytes that are not protobuf are the client's mistake, on every method that reads them."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        for method in ("ModelInfer", "ModelReady", "ModelMetadata", "RepositoryIndex"):
            ask: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(b"\xff\xff")
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_who_asks_is_found_out_once(client: tritonclient.grpc.aio.InferenceServerClient, app: Recording) -> None:
    """Whoever was admitted goes on with the question."""
    await client.infer("m", numbers())
    assert [Principal("ann")] == [head.principal for head in app.heads]


async def test_what_became_known_goes_with_an_error(stub: Any, app: Recording) -> None:
    """Beside the request's identity; in a stream it comes as the first metadata."""
    app.knows = {"x-penstock-route": "a→b"}
    app.failure = InferenceError(ErrorKind.BROKEN, "[request id: <id_unknown>] sick")
    message = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[bytes(4)])
    message.inputs.add(name="IN", datatype="INT32", shape=[1])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(message)
    trailers = dict(caught.value.trailing_metadata())
    assert ("sick", "made", "a->b") == (caught.value.details(), trailers["x-request-id"], trailers["x-penstock-route"])
    message.raw_input_contents[0] = b""  # no elements: the stream fails before it answers
    message.inputs[0].shape[0] = 0
    stream = stub.ModelStreamInfer()
    await stream.write(message)
    await stream.done_writing()
    assert ["sick"] == [each.error_message async for each in stream]
    told = dict(await stream.initial_metadata())
    assert ("made", "a->b") == (told["x-request-id"], told["x-penstock-route"])


async def test_a_stranger_is_refused_before_its_message_is_read(stub: Any, app: Recording) -> None:
    """Whatever is wrong with the message, the credential comes first; the application is told of both refusals."""
    unreadable = message()
    unreadable.raw_input_contents.append(b"")
    for stranger, code in ((True, grpc.StatusCode.UNAUTHENTICATED), (False, grpc.StatusCode.INVALID_ARGUMENT)):
        app.stranger = stranger
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(unreadable)
        assert code == caught.value.code()
    assert [("ModelInfer", "unauthenticated"), ("ModelInfer", "invalid")] == app.refusals


async def test_descriptions(client: Any) -> None:
    """Health, metadata, configuration, statistics and the index are what the application says."""
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("m")
    assert not await client.is_model_ready("other")
    assert (await client.get_server_metadata()).name == "penstock"
    assert list((await client.get_model_metadata("m")).versions) == ["7"]
    assert (await client.get_model_config("m")).config.max_batch_size == 8
    (stats,) = (await client.get_inference_statistics("m", "7")).model_stats
    assert (stats.name, stats.version, stats.inference_count) == ("m", "7", 3)
    assert [model.name for model in (await client.get_model_repository_index()).models] == ["m"]


async def test_what_is_never_passed_on(client: Any, app: Recording) -> None:
    """Shared memory, loading, tracing and log settings are refused with what to do instead, before the application is asked."""
    asked = [
        (client.register_system_shared_memory("r", "/r", 8), "UNIMPLEMENTED", "send the tensors"),
        (client.get_cuda_shared_memory_status(), "UNIMPLEMENTED", "send the tensors"),
        (client.load_model("m"), "PERMISSION_DENIED", "operators"),
        (client.unload_model("m"), "PERMISSION_DENIED", "operators"),
        (client.get_trace_settings(), "PERMISSION_DENIED", "operators"),
        (client.update_log_settings({"log_info": True}), "PERMISSION_DENIED", "operators"),
    ]
    for call, status, text in asked:
        with pytest.raises(InferenceServerException) as caught:
            await call
        assert f"StatusCode.{status}" == caught.value.status()
        assert text in caught.value.message()
    assert app.heads == []


async def test_a_client_that_leaves_cancels_its_question(stub: Any, app: Recording) -> None:
    """Cancelled by its client, a call's question is cancelled in the application, too."""
    app.hang = True
    call = stub.ModelInfer(message())
    await app.entered.wait()
    call.cancel()
    await app.left.wait()


async def test_a_client_that_leaves_a_stream_cancels_its_question(stub: Any, app: Recording) -> None:
    """The same on a stream, while an answer is awaited."""
    app.hang = True
    stream = stub.ModelStreamInfer([message()])
    assert not (await stream.read()).error_message
    await app.entered.wait()
    stream.cancel()
    await app.left.wait()


async def test_a_deadline_is_handed_on(stub: Any, app: Recording) -> None:
    """The application knows how long the client waits, and is cancelled when that time is over."""
    await stub.ModelInfer(message(), timeout=30)
    assert app.heads[0].deadline == pytest.approx(30, abs=2)
    await stub.ModelInfer(message())
    assert app.heads[1].deadline is None
    app.hang = True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(message(), timeout=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await app.left.wait()


async def test_limits(stub: Any, app: Recording) -> None:
    """A message past its limit and a call past theirs are refused before the application is asked."""
    large = message()
    large.raw_input_contents[0] = bytes(2 << 20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(large)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert app.requests == []
    app.hang = True
    calls = [asyncio.ensure_future(stub.ModelInfer(message())) for _ in range(5)]
    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 4)
    error = done.pop().exception()
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    app.go.set()
    await asyncio.gather(*waiting)


async def test_a_port_in_use(app: Recording, listener: GrpcListener) -> None:
    """A port that cannot be had is said at once; it is shared by nobody who does not agree to it."""
    for reuse_port in (False, True):
        with pytest.raises(OSError, match="cannot listen on 127"):
            await listen(app, "127.0.0.1", listener.port, GrpcLimits(), reuse_port)
    first = await listen(app, "127.0.0.1", 0, GrpcLimits(), reuse_port=True)
    second = await listen(app, "127.0.0.1", first.port, GrpcLimits(), reuse_port=True)
    assert first.port == second.port
    await asyncio.gather(first.drain(0), second.drain(0))
