"""A backend over HTTP/1.1, asked through a real socket: what it is sent, and what its answers and failures become."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.http1.pool import HttpPool, PoolLimits, UpstreamResponse
from backends.inference import InferenceRequest, Repository, Tensors, TensorSpec
from backends.promise import Promise
from backends.protocols.v2_http_request import decode_request
from backends.schedule import Schedule
from backends.tensors import from_array
from backends.triton_http import TritonHttp
from tests.features.oip_server import Server, Waiting, failing, saying, written

if TYPE_CHECKING:
    from tests.features.oip_server import Script

BODY = b'{"inputs": [{"name":"image","datatype":"FP32","shape":[1,4],"data":[7,0,0,0]}]}'


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A small server of the protocol."""
    server = Server()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[TritonHttp]:
    """The backend under test."""
    backend = TritonHttp(HttpPool("127.0.0.1", server.port, PoolLimits(), "triton"), "triton")
    yield backend
    await backend.close()


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + seconds)


def decoded(rows: int = 1, **fields: object) -> InferenceRequest:
    """A request whose tensors are decoded already."""
    data = np.zeros((rows, 4), "<f4")
    data[:, 0] = np.arange(rows)
    specs = (TensorSpec("image", "FP32", (rows, 4)),)
    made = {"model": "digits_fast", "version": "", "id": "", "parameters": {}, "outputs": (), **fields}
    return InferenceRequest(inputs=specs, payload=Tensors((from_array("image", "FP32", data),)), **made)  # type: ignore[arg-type]


async def failure(backend: TritonHttp, request: InferenceRequest) -> InferenceError:
    with pytest.raises(InferenceError) as caught:
        await backend.infer(request, soon())
    return caught.value


async def test_a_client_s_json_goes_on_in_binary(backend: TritonHttp, server: Server) -> None:
    """A JSON request reaches the backend's own model as the gateway understood it, with the headers given."""
    request = decode_request(BODY, None, "digits_fast", "2", (("x-request-id", "r"),))
    answer = await backend.infer(request, soon())
    (asked,) = server.asked
    assert ("/v2/models/digits_fast/versions/2/infer", "r") == (asked.path, asked.headers["x-request-id"])
    assert asked.body.endswith(struct.pack("<4f", 7, 0, 0, 0))
    assert "2" == answer.version


async def test_decoded_tensors_go_in_binary(backend: TritonHttp, server: Server) -> None:
    """What was decoded is sent and asked for in binary, with id and parameters."""
    answer = await backend.infer(decoded(3, id="q", parameters={"p": 1}), soon())
    (asked,) = server.asked
    assert ([0, 1, 2], "q", {"p": 1, "binary_data_output": True}) == (asked.rows, asked.head["id"], asked.head["parameters"])
    label = answer.output("label")
    assert label is not None
    assert [100, 101, 102] == label.array().ravel().tolist()
    assert ("digits_fast", "1", "q") == (answer.model, answer.version, answer.id)


@pytest.mark.parametrize(
    ("script", "kind", "told"),
    [
        (failing(400, "bad  shape\n here"), ErrorKind.INVALID, "bad shape here"),
        (failing(400, "Traceback (most recent call last): x"), ErrorKind.INVALID, "'triton' refused"),
        (failing(404, "Traceback (most recent call last): x"), ErrorKind.NOT_FOUND, "unknown model"),
        (failing(501, "Traceback (most recent call last): x"), ErrorKind.INVALID, "over a gRPC stream"),
        (failing(400, body=b"x"), ErrorKind.INVALID, "'triton' refused"),
        (failing(400, "Request for unknown model: 'x'"), ErrorKind.NOT_FOUND, "unknown model"),
        (failing(404, ""), ErrorKind.NOT_FOUND, "unknown model"),
        (failing(413, ""), ErrorKind.TOO_LARGE, "too large"),
        (failing(429), ErrorKind.OVERLOADED, "no room"),
        (failing(500, "Traceback"), ErrorKind.BROKEN, "'triton' failed with status 500"),
        (failing(501, "decoupled"), ErrorKind.INVALID, "decoupled"),
        (failing(503, "Traceback"), ErrorKind.OVERLOADED, "no room"),
        (failing(504, "Traceback"), ErrorKind.DEADLINE, "out of time"),
        (failing(302), ErrorKind.BROKEN, "302"),
        (failing(400, "x" * 5000), ErrorKind.INVALID, "x" * 500),
        (saying(b"\0\0\r\n\r\n"), ErrorKind.BROKEN, "malformed"),
    ],
)
async def test_what_failures_become(backend: TritonHttp, server: Server, script: Script, kind: ErrorKind, told: str) -> None:
    """Each status its kind; a 4xx's text reaches the client in one short line, a 5xx's never does."""
    server.scripts["digits_fast"] = script
    error = await failure(backend, decoded())
    assert (kind, "triton") == (error.kind, error.source)
    assert told in error.message
    assert "Traceback" not in error.message
    assert 600 > len(error.message)


async def test_only_overload_may_be_tried_elsewhere(backend: TritonHttp, server: Server) -> None:
    """A refusal for want of room did no work; a broken answer may have."""
    for status, retryable in ((503, True), (429, True), (500, False), (400, False)):
        server.scripts["digits_fast"] = failing(status)
        assert retryable == (await failure(backend, decoded())).retryable


async def test_a_deadline_is_kept(backend: TritonHttp, server: Server) -> None:
    """A server that does not answer is left when time is up."""
    server.scripts["digits_fast"] = waiting = Waiting()
    with pytest.raises(InferenceError) as caught:
        await backend.infer(decoded(), soon(0.05))
    assert ErrorKind.DEADLINE is caught.value.kind
    await waiting.left.wait()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a?b", "a\r\nb", "%2e", "é", "x" * 129])
async def test_a_name_cannot_be_a_path(backend: TritonHttp, server: Server, name: str) -> None:
    """What is no name never gets into a request line, as model or as version."""
    assert ErrorKind.INVALID is (await failure(backend, decoded(model=name))).kind
    if name:
        assert ErrorKind.INVALID is (await failure(backend, decoded(version=name))).kind
    assert [] == server.received


async def test_descriptions(backend: TritonHttp, server: Server) -> None:
    """Metadata, configuration and statistics as the server gives them; health as truth values."""
    assert "digits_fast" == (await backend.describe("metadata", "digits_fast", "", soon()))["name"]
    assert 64 == (await backend.describe("config", "digits_fast", "1", soon()))["max_batch_size"]
    assert 1 == len((await backend.describe("stats", "digits_fast", "", soon()))["model_stats"])
    assert await backend.ready("", "", soon())
    assert await backend.ready("digits_fast", "1", soon())
    server.ready = False
    assert not await backend.ready("digits_fast", "", soon())
    with pytest.raises(InferenceError) as caught:
        await backend.describe("metadata", "none", "", soon())
    assert ErrorKind.NOT_FOUND is caught.value.kind


async def test_one_answer_is_a_stream_of_one(backend: TritonHttp) -> None:
    """Over HTTP one question has one answer."""
    assert 1 == len([answer async for answer in backend.stream(decoded(), soon())])


@pytest.mark.parametrize(("left", "kind"), [(0.01, ErrorKind.DEADLINE), (5.0, ErrorKind.OVERLOADED)])
async def test_what_expired_in_the_queue(server: Server, left: float, kind: ErrorKind) -> None:
    """At the deadline it is the deadline; long before it is the model's own limit, and another server may have room."""
    server.scripts["digits_fast"] = failing(503, "Request timeout expired")
    backend = TritonHttp(HttpPool("127.0.0.1", server.port, PoolLimits(), "triton"), "triton", {"digits_fast": Schedule(True, 3)})
    with pytest.raises(InferenceError) as caught:
        await backend.infer(decoded(priority=9), soon(left))
    await backend.close()
    assert kind is caught.value.kind
    told = server.asked[0].head["parameters"]
    assert 3 == told["priority"]
    assert 0 < told["timeout"] <= left * 1e6


async def test_a_sequence_is_not_asked_twice(server: Server) -> None:
    """A stale connection is replaced for a plain question; a step of a sequence might have been taken, so it fails."""
    from backends.http1.messages import UpstreamRequest

    class Noting(HttpPool):
        async def ask(self, request: UpstreamRequest, deadline: Deadline, *, fresh: bool = False) -> UpstreamResponse:
            noted.append(request.repeatable)
            return await super().ask(request, deadline, fresh=fresh)

    noted: list[bool] = []
    backend = TritonHttp(Noting("127.0.0.1", server.port, PoolLimits(), "triton"), "triton")
    await backend.infer(decoded(), soon())
    await backend.infer(decoded(parameters={"sequence_id": 7}), soon())
    await backend.close()
    assert [True, False] == noted


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'[{"name":"a","version":"1","state":"READY"},{"name":"a","version":"2"},{"name":"b"}]', ("a", "b")),
        (200, b"[]", ()),
        (200, b'{"models":[]}', ErrorKind.BROKEN),
        (200, b"[{}]", ErrorKind.BROKEN),
        (404, b'{"error":"no extension"}', ErrorKind.NOT_FOUND),
    ],
)
async def test_models(status: int, body: bytes, expected: object) -> None:
    """Every model of the repository's index by name, once; what is no index is an error."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"{}"))
        writer.write(written(status, body, {}))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    backend = TritonHttp(HttpPool("127.0.0.1", server.sockets[0].getsockname()[1], PoolLimits(), "triton"), "triton")
    try:
        found: object = await backend.models(soon())
    except InferenceError as error:
        found = error.kind
    assert expected == found
    assert asked[0].startswith(b"POST /v2/repository/index HTTP/1.1\r\n")
    assert isinstance(backend, Repository)
    await backend.close()
    server.close()


ENTRY = {"name": "image", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
TENSORS = struct.pack("<4f", 1, 2, 3, 4)


def binary(entry: object = ENTRY, tensors: bytes = TENSORS, version: str = "") -> InferenceRequest:
    """A question that came in binary."""
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    return decode_request(head + tensors, str(len(head)), "digits_fast", version, (("x-request-id", "long"),))


def test_questions_that_have_no_form(backend: TritonHttp) -> None:
    """Those that are decoded, and those with texts, whose lengths are their own."""
    text = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    assert backend.form(decoded()) is None
    assert backend.form(binary(text, b"\1\0\0\0x")) is None
    assert backend.form(binary()) is not None


async def test_a_form_is_written_as_its_question_would_be(backend: TritonHttp, server: Server) -> None:
    """But for the request id and the tensors; it keeps neither those that it was found from, nor their bytes."""
    for version in ("", "1"):
        request = binary(version=version)
        form = backend.form(request)
        assert form is not None
        assert ((), (), None) == (form.request.payload.tensors(), form.request.headers, form.request.sent)
        await backend.infer(request, soon())
        for number in range(2):
            connection = backend.spare(form)
            assert connection is not None
            answer: Promise[UpstreamResponse] = Promise(asyncio.get_running_loop())
            backend.send(form, connection, b"short-1", struct.pack("<4f", 3, 2, 1, number), answer)
            assert 200 == (await answer).status
            backend.leave(connection)
        first, *others = server.asked[-3:]
        assert [struct.pack("<4f", 3, 2, 1, number) for number in range(2)] == [other.body[-16:] for other in others]
        for other in others:
            assert (first.path, first.body[:-16]) == (other.path, other.body[:-16])
            assert {**first.headers, "x-request-id": "short-1"} == other.headers
        assert 1 == len(form.written)


def test_a_model_that_obeys_deadlines_is_not_asked_so(server: Server) -> None:
    """Each question tells its own."""
    schedules = {"digits_fast": Schedule(True, 0)}
    backend = TritonHttp(HttpPool("127.0.0.1", server.port, PoolLimits(), "triton"), "triton", schedules)
    form = backend.form(binary())
    assert form is not None
    assert backend.spare(form) is None
