"""gRPC: the same questions, policies and errors as over HTTP, told in statuses and metadata."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.features.oip_server import Waiting, failing

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - {name: enterprise, match: {tier: enterprise}, use: accurate}
      - {name: parameter, match: {parameter: {preview: true}}, use: accurate}
      - {name: version, match: {header: {x-plain: "1"}}, use: fast}
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
"""
Status = grpc.StatusCode


@pytest.fixture
async def gate(start: Start) -> Running:
    """The fast model is unsure of row 1."""
    gate = await start(POLICY)
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    await gate.learned()
    return gate


def question(*rows: int, model: str = "digits", **fields: Any) -> Any:
    """A ModelInferRequest about these rows."""
    data = np.zeros((len(rows), 4), "<f4")
    data[:, 0] = rows
    found = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[data.tobytes()], **fields)
    found.inputs.add(name="image", datatype="FP32", shape=[len(rows), 4])
    return found


def labels(answer: Any) -> list[int]:
    """The labels of a ModelInferResponse."""
    at = next(index for index, each in enumerate(answer.outputs) if each.name == "label")
    return [int(label) for label in np.frombuffer(answer.raw_output_contents[at], "<i8")]


def by(gate: Running, caller: str = "free", **more: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a caller."""
    given = {**{name.lower(): value for name, value in gate.credential(caller).items()}, **more}
    return tuple((name.replace("_", "-"), value) for name, value in given.items())


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """How a call fails: status, reason and its trailing metadata."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.details()
    trailers = dict(caught.value.trailing_metadata())
    return caught.value.code(), trailers.get("x-penstock-error", ""), trailers


async def test_a_cascade(gate: Running) -> None:
    """Rows go up, costs add up, and the headers come as metadata in lower case."""
    call = gate.stub().ModelInfer(question(0, 1, 2, id="mine"), metadata=by(gate, x_request_id="r-1"))
    answer = await call
    assert ("digits", "mine", [100, 301, 102]) == (answer.model_name, answer.id, labels(answer))
    told = dict(await call.initial_metadata())
    assert {
        "x-request-id": "r-1",
        "x-model-name": "digits_fast,digits_accurate",
        "x-model-version": "1,1",
        "x-penstock-route": "default",
        "x-penstock-variant": "fast=2,accurate=1",
        "x-penstock-escalation": "fast->accurate",
        "x-penstock-cost": "43",
        "x-penstock-policy": gate.gateway.plane.snapshot.version,
    } == {name: value for name, value in told.items() if name.startswith("x-")}
    assert "backend;dur=" in told["server-timing"]


async def test_routes(gate: Running) -> None:
    """Tier, parameter, header and version decide as over HTTP."""
    stub, preview = gate.stub(), question(1)
    preview.parameters["preview"].bool_param = True
    for asked, metadata, route in (
        (question(1), by(gate, "enterprise"), "enterprise"),
        (preview, by(gate), "parameter"),
        (question(1, model_version="2"), by(gate, x_plain="1"), "version"),
    ):
        call = stub.ModelInfer(asked, metadata=metadata)
        await call
        assert route == dict(await call.initial_metadata())["x-penstock-route"]
    assert "2" == gate.backend.asked[-1].version


async def test_what_goes_on_to_the_backend(gate: Running) -> None:
    """The trace and the id, nothing else of the metadata."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await gate.stub().ModelInfer(question(0), metadata=by(gate, traceparent=parent, x_penstock_route="x", x_custom="y"))
    headers = gate.backend.asked[0].headers
    assert parent == headers["traceparent"]
    assert not {"x-api-key", "x-penstock-route", "x-custom"} & set(headers)


async def test_the_errors_of_a_question(gate: Running) -> None:
    """Each mistake has its status and its reason, and no backend hears of it."""
    stub = gate.stub()
    wrong, missing, cut, unknown = question(0), question(0), question(0), question(0)
    wrong.inputs[0].datatype, missing.inputs[0].name = "FP64", "picture"
    wrong.raw_input_contents[0] = bytes(32)
    cut.raw_input_contents[0] = bytes(15)
    unknown.inputs[0].datatype = "FLOAT"
    for asked, reason in ((wrong, "datatype"), (missing, "unknown-input"), (cut, "shape"), (unknown, "datatype")):
        assert (Status.INVALID_ARGUMENT, reason) == (await refused(stub.ModelInfer(asked, metadata=by(gate))))[:2]
    cases = [
        (question(0, model="none"), by(gate), Status.NOT_FOUND, "not-found"),
        (question(0), (), Status.UNAUTHENTICATED, "no-credential"),
        (question(0), (("x-api-key", "wrong"),), Status.UNAUTHENTICATED, "bad-api-key"),
        (question(0), by(gate, "expired"), Status.UNAUTHENTICATED, "expired-api-key"),
        (question(0), by(gate, "admin"), Status.PERMISSION_DENIED, "forbidden"),
        (question(0), by(gate, authorization="Bearer x"), Status.INVALID_ARGUMENT, "two-credentials"),
        (question(0), by(gate, x_request_timeout_ms="soon"), Status.INVALID_ARGUMENT, "timeout"),
        (question(*range(65)), by(gate), Status.INVALID_ARGUMENT, "rows"),
    ]
    for asked, metadata, status, reason in cases:
        assert (status, reason) == (await refused(stub.ModelInfer(asked, metadata=metadata)))[:2]
    assert [] == gate.backend.asked


async def test_the_errors_of_a_backend(gate: Running) -> None:
    """What a backend does wrong is UNAVAILABLE; a deadline is DEADLINE_EXCEEDED, whoever set it."""
    stub = gate.stub()
    gate.backend.scripts["digits_fast"] = failing(500, "Traceback")
    assert (Status.UNAVAILABLE, "broken") == (await refused(stub.ModelInfer(question(0), metadata=by(gate))))[:2]
    gate.backend.scripts["digits_fast"] = failing(503)
    status, reason, _ = await refused(stub.ModelInfer(question(0), metadata=by(gate)))
    assert (Status.UNAVAILABLE, "overloaded") == (status, reason)
    gate.backend.scripts["digits_fast"] = waiting = Waiting()
    call = stub.ModelInfer(question(0), metadata=by(gate, x_request_timeout_ms="100"))
    assert (Status.DEADLINE_EXCEEDED, "deadline") == (await refused(call))[:2]
    await waiting.left.wait()
    gate.backend.scripts["digits_fast"] = waiting = Waiting()
    assert Status.DEADLINE_EXCEEDED == (await refused(stub.ModelInfer(question(0), metadata=by(gate), timeout=0.1)))[0]
    await waiting.left.wait()


async def test_a_client_that_leaves(gate: Running) -> None:
    """A cancelled call takes its question back, and is counted."""
    gate.backend.scripts["digits_fast"] = waiting = Waiting()
    call = gate.stub().ModelInfer(question(0), metadata=by(gate))
    await waiting.entered.wait()
    call.cancel()
    await waiting.left.wait()
    metrics = await gate.metrics()
    assert 0 == metrics["penstock_in_flight", ("triton",)]
    assert 1 == metrics["penstock_requests_total", ("digits", "default", "", "CANCELLED")]


async def test_descriptions(gate: Running) -> None:
    """Metadata, configuration, statistics, readiness and the index, under the public name."""
    stub = gate.stub()
    assert (await stub.ServerLive(service_pb2.ServerLiveRequest())).live
    assert (await stub.ServerReady(service_pb2.ServerReadyRequest())).ready
    assert "penstock" == (await stub.ServerMetadata(service_pb2.ServerMetadataRequest(), metadata=by(gate))).name
    metadata = await stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="digits"), metadata=by(gate))
    assert ("digits", "image") == (metadata.name, metadata.inputs[0].name)
    config = await stub.ModelConfig(service_pb2.ModelConfigRequest(name="digits"), metadata=by(gate))
    assert ("digits", 64) == (config.config.name, config.config.max_batch_size)
    stats = await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="digits"), metadata=by(gate))
    assert ["digits", "digits"] == [each.name for each in stats.model_stats]
    assert (await stub.ModelReady(service_pb2.ModelReadyRequest(name="digits"), metadata=by(gate))).ready
    gate.backend.ready = False
    assert not (await stub.ModelReady(service_pb2.ModelReadyRequest(name="digits"), metadata=by(gate))).ready
    index = await stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=by(gate))
    assert [("digits", "UNAVAILABLE")] == [(each.name, each.state) for each in index.models]
    for ask in (
        stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="digits")),
        stub.RepositoryIndex(service_pb2.RepositoryIndexRequest()),
    ):
        assert Status.UNAUTHENTICATED == (await refused(ask))[0]


async def test_a_stream(gate: Running) -> None:
    """Questions are answered in order; one that fails is told in the stream, with its id, and the stream goes on."""
    stream = gate.stub().ModelStreamInfer(metadata=by(gate))
    for asked in (question(0, id="a"), question(0, id="b", model="none"), question(1, id="c")):
        await stream.write(asked)
    await stream.done_writing()
    found = [each async for each in stream]
    assert ["a", "b", "c"] == [each.infer_response.id for each in found]
    assert [[100], [301]] == [labels(each.infer_response) for each in (found[0], found[2])]
    assert ("", True, "") == (found[0].error_message, "none" in found[1].error_message, found[2].error_message)


class Repeating(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A decoupled model: as many answers as its input says, then, for a negative one, an error or no end."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def ModelStreamInfer(self, questions: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for asked in questions:
            (count,) = np.frombuffer(asked.raw_input_contents[0], "<i4")
            for number in range(abs(count)):
                answer = service_pb2.ModelInferResponse(model_name=asked.model_name, model_version="1", id=asked.id)
                answer.outputs.add(name="OUT", datatype="INT32", shape=[1])
                answer.raw_output_contents.append(np.int32(number).tobytes())
                answer.parameters["triton_final_response"].bool_param = number + 1 == count
                yield service_pb2.ModelStreamInferResponse(infer_response=answer)
            if count == -2:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.left.set()
            elif count < 0:
                yield service_pb2.ModelStreamInferResponse(error_message="broke off")


@pytest.fixture
async def repeating(start: Start) -> AsyncIterator[tuple[Running, Repeating]]:
    """A gateway in front of a decoupled model."""
    server, model = grpc.aio.server(), Repeating()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    policy = POLICY.split("models:")[0].replace("triton-http", "triton-grpc").replace("PORT", str(port))
    yield (
        await start(
            policy
            + """
models:
  repeat:
    timeout: 2s
    variants: {repeat: {backend: triton, model: repeat_int32, cost: 2}}
    routes: [{name: default, use: repeat}]
"""
        ),
        model,
    )
    await server.stop(0)


def times(count: int) -> Any:
    """A question to the decoupled model."""
    found = service_pb2.ModelInferRequest(model_name="repeat", id=str(count), raw_input_contents=[np.int32(count).tobytes()])
    found.inputs.add(name="IN", datatype="INT32", shape=[1])
    return found


async def test_many_answers_to_one_question(repeating: tuple[Running, Repeating]) -> None:
    """A decoupled model's answers come one by one under the public name; what they cost is counted once for each question."""
    gate, _ = repeating
    stream = gate.stub().ModelStreamInfer(metadata=by(gate))
    for count in (3, 0, 2, -1):
        await stream.write(times(count))
    await stream.done_writing()
    found = [each async for each in stream]
    numbers = [
        int(np.frombuffer(each.infer_response.raw_output_contents[0], "<i4")[0]) for each in found if not each.error_message
    ]
    assert [0, 1, 2, 0, 1, 0] == numbers
    assert {"repeat"} == {each.infer_response.model_name for each in found if not each.error_message}
    assert [(False, "-1")] == [(not each.error_message, each.infer_response.id) for each in found if each.error_message]
    metrics = await gate.metrics()
    assert 3 * 2 == metrics["penstock_cost_total", ("repeat", "repeat")]
    assert 0 == metrics["penstock_in_flight", ("triton",)]


async def test_a_stream_left_early(repeating: tuple[Running, Repeating]) -> None:
    """A client that leaves in the middle ends the backend's stream as well."""
    gate, model = repeating
    stream = gate.stub().ModelStreamInfer(metadata=by(gate))
    await stream.write(times(-2))
    assert not (await stream.read()).error_message
    stream.cancel()
    await model.left.wait()
    async with asyncio.timeout(5):
        while (await gate.metrics())["penstock_in_flight", ("triton",)]:
            pass


async def test_a_stream_past_its_deadline(repeating: tuple[Running, Repeating]) -> None:
    """The deadline is the whole question's, answers in between or not."""
    gate, model = repeating
    stream = gate.stub().ModelStreamInfer(metadata=by(gate, x_request_timeout_ms="200"))
    await stream.write(times(-2))
    await stream.done_writing()
    found = [each async for each in stream]
    assert [True, True, False] == [not each.error_message for each in found]
    assert "deadline" in found[-1].error_message
    await model.left.wait()


async def test_json_asks_a_backend_that_speaks_grpc(repeating: tuple[Running, Repeating]) -> None:
    """A decoupled model cannot be asked over HTTP: the client hears so, or gets the one answer there is."""
    gate, _ = repeating
    entry = {"name": "IN", "datatype": "INT32", "shape": [1], "data": [1]}
    reply = await gate.ask("POST", "/v2/models/repeat/infer", json.dumps({"inputs": [entry]}).encode())
    assert reply.error[0] in (400, 415, 502, 503)


async def test_errors_have_an_identity_too(gate: Running) -> None:
    """The request's id and the policy's version come with an error as they come with an answer."""
    for asked in (question(0, model="none"), service_pb2.ModelInferRequest(model_name="digits")):
        _, _, trailers = await refused(gate.stub().ModelInfer(asked, metadata=by(gate, x_request_id="r-9")))
        assert ("r-9", gate.gateway.plane.snapshot.version) == (trailers["x-request-id"], trailers["x-penstock-policy"])


async def test_errors_on_a_route_say_which(gate: Running) -> None:
    """The route and the whole time come with an error, be it ours or a backend's; one that got to no route has neither."""
    stub = gate.stub()
    gate.backend.scripts["digits_fast"] = failing(500)
    for asked in (question(0), question(*range(65))):
        _, _, trailers = await refused(stub.ModelInfer(asked, metadata=by(gate)))
        assert ("default", "total;dur") == (trailers["x-penstock-route"], trailers["server-timing"].partition("=")[0])
    _, _, trailers = await refused(stub.ModelInfer(question(0, model="none"), metadata=by(gate)))
    assert not {"x-penstock-route", "server-timing"} & set(trailers)


async def test_statistics_of_every_model(gate: Running) -> None:
    """A question without a name is about all that the caller may ask."""
    stub = gate.stub()
    stats = await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), metadata=by(gate))
    assert ["digits", "digits"] == [each.name for each in stats.model_stats]
    assert not (await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), metadata=by(gate, "admin"))).model_stats


async def test_a_stranger_s_message_is_not_read(gate: Running) -> None:
    """Whoever has no credential hears that, whatever else is wrong."""
    stub = gate.stub()
    assert Status.UNAUTHENTICATED == (await refused(stub.ModelInfer(service_pb2.ModelInferRequest())))[0]


async def test_every_request_is_counted(gate: Running) -> None:
    """By its status's word; one that cannot be read counts like any other."""
    stub = gate.stub()
    await stub.ModelInfer(question(0), metadata=by(gate))
    await refused(stub.ModelInfer(question(0, model="none"), metadata=by(gate)))
    await refused(stub.ModelInfer(service_pb2.ModelInferRequest(model_name="digits"), metadata=by(gate)))
    counted = {key[1]: value for key, value in (await gate.metrics()).items() if key[0] == "penstock_requests_total"}
    assert 1 == counted["digits", "default", "fast", "OK"]
    assert 1 == counted["", "", "", "NOT_FOUND"]
    assert 1 == sum(value for labels, value in counted.items() if labels[3] == "INVALID_ARGUMENT")
