"""A backend over gRPC, against a small server that speaks the service and keeps what it was asked."""

# ruff: noqa: N802 - the protocol names the servicer's methods

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend, InferenceRequest, InferenceResponse, Repository, Tensors, TensorSpec
from backends.tensors import from_array
from backends.triton_grpc import TritonGrpc

VALUES = from_array("IN", "INT32", np.arange(3, dtype=np.int32))


class Recording(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Doubles tensors' names, answers each stream with its inputs one element at a time, and fails as it is told to."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.stream_error = ""
        self.hang = False
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def _seen(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failure is not None:
            await context.abort(*self.failure)
        if self.hang:
            self.entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()

    async def ServerLive(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        return service_pb2.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        return service_pb2.ModelReadyResponse(ready=request.version == "1")

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        entry = service_pb2.ModelMetadataResponse.TensorMetadata(name="IN", datatype="INT32", shape=[-1, 3])
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], inputs=[entry])

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        answer = service_pb2.ModelConfigResponse()
        answer.config.name, answer.config.max_batch_size = request.name, 8
        return answer

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        return service_pb2.ModelStatisticsResponse(
            model_stats=[service_pb2.ModelStatistics(name=request.name, version="1", inference_count=2**40)]
        )

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        entries = [service_pb2.RepositoryIndexResponse.ModelIndex(name=name) for name in ("a", "a", "b")]
        return service_pb2.RepositoryIndexResponse(models=entries)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        await self._seen(request, context)
        return _echo(request)

    async def ModelStreamInfer(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            for element in np.frombuffer(request.raw_input_contents[0], dtype=np.int32):
                answer = _echo(request)
                answer.outputs[0].shape[:] = [1]
                answer.raw_output_contents[0] = element.tobytes()
                yield service_pb2.ModelStreamInferResponse(infer_response=answer)
            await self._seen(request, context)
            if self.stream_error:
                yield service_pb2.ModelStreamInferResponse(error_message=self.stream_error)


def _echo(request: Any) -> Any:
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="7", id=request.id)
    for given in request.inputs:
        answer.outputs.add(name="OUT", datatype=given.datatype, shape=given.shape)
    answer.raw_output_contents.extend(request.raw_input_contents)
    return answer


async def serve(servicer: Recording, port: int = 0) -> tuple[grpc.aio.Server, int]:
    """A server for the servicer and its port."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, bound


@pytest.fixture
async def servicer() -> Recording:
    """What the server was asked, and how it answers."""
    return Recording()


@pytest.fixture
async def backend(servicer: Recording) -> AsyncIterator[TritonGrpc]:
    """A backend whose server runs."""
    server, port = await serve(servicer)
    backend = TritonGrpc("127.0.0.1", port, "triton")
    yield backend
    await backend.close()
    await server.stop(None)


def soon(seconds: float = 10.0) -> Deadline:
    """A deadline that no test reaches unless it wants to."""
    return Deadline(asyncio.get_running_loop().time() + seconds)


def question(model: str = "m", headers: tuple[tuple[str, str], ...] = ()) -> InferenceRequest:
    """Three numbers."""
    spec = TensorSpec(VALUES.name, VALUES.datatype, VALUES.shape)
    return InferenceRequest(model, "", "q", {"k": 1}, (spec,), (), Tensors((VALUES,)), headers)


async def collect(backend: Backend, found: list[InferenceResponse]) -> None:
    """Adds a stream's answers to what was found before."""
    async for response in backend.stream(question(), soon()):
        found.append(response)  # noqa: PERF401 - those before an error count


async def failure(backend: Backend, deadline: Deadline | None = None) -> InferenceError:
    """How a question fails."""
    with pytest.raises(InferenceError) as caught:
        await backend.infer(question(), deadline or soon())
    return caught.value


async def test_infer(backend: TritonGrpc, servicer: Recording) -> None:
    """One question goes out as it is, with its headers as metadata, and its answer comes back as the backend said it."""
    response = await backend.infer(question(headers=(("Traceparent", "00-1"), ("x-odd", "é"))), soon())
    assert (response.model, response.version, response.id) == ("m", "7", "q")
    found = response.output("OUT")
    assert found is not None
    assert found.array().tolist() == [0, 1, 2]
    assert servicer.requests[0].parameters["k"].int64_param == 1
    assert servicer.metadata[0]["traceparent"] == "00-1"
    assert "x-odd" not in servicer.metadata[0]


async def test_stream(backend: TritonGrpc) -> None:
    """One question has as many answers as the model gives, and the stream ends after the last."""
    found = [response.payload.tensors()[0].array().tolist() async for response in backend.stream(question(), soon())]
    assert found == [[0], [1], [2]]


async def test_a_stream_that_is_left_early_is_cancelled(backend: TritonGrpc, servicer: Recording) -> None:
    """Whoever stops reading answers frees the backend from giving more."""
    servicer.hang = True
    answers = backend.stream(question(), soon())
    await anext(answers)
    await servicer.entered.wait()
    await answers.aclose()
    await servicer.left.wait()


async def test_a_stream_fails_by_status_or_by_message(backend: TritonGrpc, servicer: Recording) -> None:
    """An error in a stream ends it after the answers that came before, whichever way the server tells it."""
    servicer.stream_error = "boom"
    found: list[InferenceResponse] = []
    with pytest.raises(InferenceError) as caught:
        await collect(backend, found)
    assert (len(found), caught.value.kind) == (3, ErrorKind.BROKEN)
    servicer.failure = (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape")
    with pytest.raises(InferenceError) as caught:
        await collect(backend, found)
    assert len(found) == 6
    assert (caught.value.kind, caught.value.message) == (ErrorKind.INVALID, "unexpected shape")
    assert servicer.metadata[0]["triton_grpc_error"] == "true"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Request for unknown model: 'nope' is not found", ErrorKind.NOT_FOUND),
        ("[request id: q] expected 2 inputs but got 1 inputs for model 'simple'.", ErrorKind.INVALID),
        ("[request id: q] input byte size mismatch for input 'INPUT0' for model 'simple'.", ErrorKind.INVALID),
        ("[request id: q] unexpected shape for input 'INPUT1' for model 'simple'.", ErrorKind.INVALID),
        ("[request id: q] inference request batch-size must be <= 8 for 'simple'", ErrorKind.INVALID),
        ("unexpected inference input 'INPUTX' for model 'simple'", ErrorKind.INVALID),
        ("[request id: q] Exceeds maximum queue size", ErrorKind.OVERLOADED),
        ("Traceback (most recent call last): secret", ErrorKind.BROKEN),
    ],
)
async def test_a_refusal_within_a_stream_is_told_by_its_text(
    backend: TritonGrpc, servicer: Recording, text: str, kind: ErrorKind
) -> None:
    """Triton's texts (2.51's, verbatim) mean on a stream what their statuses mean on a unary call."""
    servicer.stream_error = text
    with pytest.raises(InferenceError) as caught:
        await collect(backend, [])
    assert kind == caught.value.kind
    assert "secret" not in caught.value.message


async def test_health(backend: TritonGrpc, servicer: Recording) -> None:
    """Liveness and readiness are the server's words; a model that is not there is not ready."""
    assert await backend.ready("", "", soon())
    assert await backend.ready("m", "1", soon())
    assert not await backend.ready("m", "2", soon())
    servicer.failure = (grpc.StatusCode.NOT_FOUND, "no such model")
    assert not await backend.ready("m", "1", soon())


async def test_describe(backend: TritonGrpc) -> None:
    """Metadata, configuration and statistics are the JSON objects that the HTTP form gives."""
    metadata = await backend.describe("metadata", "m", "", soon())
    expected = {"name": "IN", "datatype": "INT32", "shape": [-1, 3]}
    assert {"name": "m", "versions": ["1"], "platform": "", "inputs": [expected], "outputs": []} == metadata
    config = await backend.describe("config", "m", "", soon())
    assert (config["name"], config["max_batch_size"]) == ("m", 8)
    (stats,) = (await backend.describe("stats", "m", "", soon()))["model_stats"]
    assert (stats["name"], stats["inference_count"]) == ("m", 2**40)


async def test_models(backend: TritonGrpc, servicer: Recording) -> None:
    """Every model of the repository's index by name, once; a server that has none does not offer this."""
    assert ("a", "b") == await backend.models(soon())
    assert isinstance(backend, Repository)
    servicer.failure = (grpc.StatusCode.UNIMPLEMENTED, "")
    with pytest.raises(InferenceError) as caught:
        await backend.models(soon())
    assert ErrorKind.UNSUPPORTED is caught.value.kind


@pytest.mark.parametrize(
    ("status", "text", "kind", "retryable"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "wrong shape", ErrorKind.INVALID, False),
        (grpc.StatusCode.INVALID_ARGUMENT, "Traceback (most recent call last): secret", ErrorKind.INVALID, False),
        (grpc.StatusCode.UNIMPLEMENTED, "secret, At: /models/m/1/model.py(3): execute", ErrorKind.UNSUPPORTED, False),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'm' is not found", ErrorKind.NOT_FOUND, False),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: …", ErrorKind.UNAVAILABLE, True),
        (grpc.StatusCode.UNAVAILABLE, "errors resolving a.internal:8001: [field:hostname …]", ErrorKind.UNAVAILABLE, True),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", ErrorKind.BROKEN, False),
        (grpc.StatusCode.UNAVAILABLE, "[request id: q] Exceeds maximum queue size", ErrorKind.OVERLOADED, True),
        (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", ErrorKind.OVERLOADED, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", ErrorKind.OVERLOADED, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", ErrorKind.DEADLINE, False),
        (grpc.StatusCode.UNIMPLEMENTED, "decoupled", ErrorKind.UNSUPPORTED, False),
        (grpc.StatusCode.INTERNAL, "secret", ErrorKind.BROKEN, False),
        (grpc.StatusCode.CANCELLED, "secret", ErrorKind.BROKEN, False),
        (grpc.StatusCode.UNKNOWN, "secret", ErrorKind.BROKEN, False),
    ],
)
async def test_statuses(
    backend: TritonGrpc, servicer: Recording, status: grpc.StatusCode, text: str, kind: ErrorKind, retryable: bool
) -> None:
    """Every status is one kind of failure, and only texts about the client's mistakes reach the client."""
    servicer.failure = (status, text)
    error = await failure(backend)
    assert (kind, retryable, "triton") == (error.kind, error.retryable, error.source)
    assert "secret" not in error.message


async def test_a_deadline_goes_along(backend: TritonGrpc, servicer: Recording) -> None:
    """A call ends at its deadline, and the backend is told to stop; past it, nobody is asked."""
    servicer.hang = True
    assert (await failure(backend, soon(0.2))).kind == ErrorKind.DEADLINE
    await servicer.left.wait()
    assert (await failure(backend, soon(-1))).kind == ErrorKind.DEADLINE
    assert len(servicer.requests) == 1


async def test_cancelling_cancels_the_call(backend: TritonGrpc, servicer: Recording) -> None:
    """A caller that leaves takes its call along."""
    servicer.hang = True
    asked = asyncio.create_task(backend.infer(question(), soon()))
    await servicer.entered.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await servicer.left.wait()


async def test_nobody_there() -> None:
    """A refused connection is told at once, not at the deadline, and another endpoint may do better."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        backend = TritonGrpc("127.0.0.1", taken.getsockname()[1], "triton")
        began = asyncio.get_running_loop().time()
        error = await failure(backend, soon(30))
        assert (error.kind, error.retryable) == (ErrorKind.UNAVAILABLE, True)
        with pytest.raises(InferenceError):
            await backend.ready("", "", soon(30))
        assert asyncio.get_running_loop().time() - began < 5
        await backend.close()


async def test_a_server_that_comes_back_is_found_again(servicer: Recording) -> None:
    """After its server was away a backend answers again within about a second, not after grpc's usual minutes."""
    server, port = await serve(servicer)
    backend = TritonGrpc("127.0.0.1", port, "triton")
    await backend.infer(question(), soon())
    await server.stop(None)
    while (error := await failure(backend)).kind != ErrorKind.UNAVAILABLE:  # a question may have met the closing connection
        assert error.kind == ErrorKind.BROKEN
    server, _ = await serve(servicer, port)
    async with asyncio.timeout(5):
        while True:
            try:
                await backend.infer(question(), soon())
                break
            except InferenceError as error:
                assert error.kind == ErrorKind.UNAVAILABLE  # noqa: PT017 - any other would be wrong
    await backend.close()
    await server.stop(None)


async def test_sizes(servicer: Recording) -> None:
    """An answer past our limit is the backend's fault; a question past the backend's is too large."""
    server, port = await serve(servicer)
    small = TritonGrpc("127.0.0.1", port, "triton", max_message=16)
    error = await failure(small)
    assert (error.kind, "more than 16 bytes (limits.answer)" in error.message) == (ErrorKind.BROKEN, True)
    backend = TritonGrpc("127.0.0.1", port, "triton")
    large = from_array("IN", "UINT8", np.zeros(5 << 20, dtype=np.uint8))
    with pytest.raises(InferenceError) as caught:
        await backend.infer(InferenceRequest("m", "", "", {}, (), (), Tensors((large,))), soon())
    assert caught.value.kind == ErrorKind.TOO_LARGE
    for each in (small, backend):
        await each.close()
    await server.stop(None)


async def test_close_waits_for_what_is_in_flight(backend: TritonGrpc, servicer: Recording) -> None:
    """Closing lets calls end, and a late one (under an older snapshot) is still answered."""
    servicer.hang = True
    asked = asyncio.create_task(backend.infer(question(), soon()))
    await servicer.entered.wait()
    closing = asyncio.create_task(backend.close())
    servicer.hang = False
    await backend.infer(question(), soon())
    assert not closing.done()
    asked.cancel()
    await closing
    await backend.infer(question(), soon())
