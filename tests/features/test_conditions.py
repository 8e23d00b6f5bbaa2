"""Conditions that look further than the head: scope, version, bytes, priority, lengths of texts, and any, all and not of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from backends.tensors import pack_bytes
from tests.features.conftest import packed
from tests.features.oip_server import Received, written

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    variants: {fast: {backend: triton, model: digits_fast}}
    routes:
      - {name: urgent, match: {priority: ..3}, use: fast}
      - {name: pinned, match: {version: "2"}, use: fast}
      - {name: large, match: {bytes: 1KiB.., not: {tier: enterprise}}, use: fast}
      - {name: scoped, match: {scope: "models:infer:digits"}, use: fast}
      - name: mixed
        match: {any: [{tier: enterprise}, {all: [{header: {x-a: "1"}}, {not: {rows: 2..}}]}]}
        use: fast
      - {name: long, match: {parameter_range: {max_tokens: 512..}}, use: fast}
      - {name: default, use: fast}
  texts:
    variants: {only: {backend: triton, model: echo}}
    routes:
      - {name: long, match: {text_length: {prompt: 5..}}, use: only}
      - {name: default, use: only}
"""
# caller, headers (metadata), rows, version → the route taken
CASES: list[tuple[str, dict[str, str], int, str, str]] = [
    ("free", {"x-priority": "0"}, 64, "2", "urgent"),
    ("free", {"x-priority": "3"}, 1, "", "urgent"),
    ("free", {"x-priority": "4"}, 1, "", "default"),
    ("free", {}, 1, "2", "pinned"),
    ("free", {}, 1, "1", "default"),
    ("free", {}, 64, "", "large"),
    ("free", {}, 63, "", "default"),
    ("digits-only", {}, 1, "", "scoped"),
    ("digits-only", {}, 64, "", "large"),
    ("enterprise", {}, 64, "", "mixed"),
    ("free", {"x-a": "1"}, 1, "", "mixed"),
    ("free", {"x-a": "1"}, 2, "", "default"),
]


@pytest.fixture
async def gate(start: Start) -> Running:
    """A model with a route for every condition, and one of texts."""
    gate = await start(POLICY)
    gate.backend.scripts["echo"] = answering
    return gate


async def answering(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A script that gives one number, whatever it is asked."""
    output = {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.0]}
    answer = {"model_name": "echo", "model_version": "1", "outputs": [output]}
    writer.write(written(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}))
    return True


async def over_grpc(gate: Running, question: Any, caller: str, headers: Mapping[str, str]) -> str:
    """The route that the question takes."""
    call = gate.stub().ModelInfer(question, metadata=[("x-api-key", gate.keys[caller]), *headers.items()])
    await call
    return str(dict(await call.initial_metadata())["x-penstock-route"])


async def test_over_http(gate: Running) -> None:
    """In JSON and in binary alike, though the same tensor has another length on each wire."""
    for caller, headers, rows, version, route in CASES:
        named = {**headers, **({"X-Model-Version": version} if version else {})}
        body, head = packed(range(rows))
        for reply in (
            await gate.infer(range(rows), named, caller),
            await gate.ask("POST", "/v2/models/digits/infer", body, {**head, **named}, caller),
        ):
            assert (200, route) == (reply.status, reply.headers["x-penstock-route"]), (caller, headers, rows, version)


async def test_over_grpc(gate: Running) -> None:
    """In raw contents and in a message's own fields."""
    for caller, headers, rows, version, route in CASES:
        raw, typed = (pb.ModelInferRequest(model_name="digits", model_version=version) for _ in range(2))
        for message in (raw, typed):
            message.inputs.add(name="image", datatype="FP32", shape=[rows, 4])
        raw.raw_input_contents.append(np.zeros((rows, 4), "<f4").tobytes())
        typed.inputs[0].contents.fp32_contents.extend([0.0] * 4 * rows)
        assert [route, route] == [await over_grpc(gate, each, caller, headers) for each in (raw, typed)]


@pytest.mark.parametrize(
    ("given", "route"), [(512, "long"), (511, "default"), (1e6, "long"), ("512", "default"), (True, "default")]
)
async def test_the_size_of_a_parameter(gate: Running, given: Any, route: str) -> None:
    """A number that the client gives, in JSON and over gRPC."""
    assert route == (await gate.infer([0], parameters={"max_tokens": given})).headers["x-penstock-route"]
    question = pb.ModelInferRequest(model_name="digits", raw_input_contents=[bytes(16)])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    field = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(given)]
    setattr(question.parameters["max_tokens"], field, given)
    assert route == await over_grpc(gate, question, "free", {})


@pytest.mark.parametrize("priority", ["10", "-1", "high", ""])
async def test_no_priority(gate: Running, priority: str) -> None:
    """A mistake where a route asks for it; a model whose routes do not, does not read it."""
    assert (400, "priority") == (await gate.infer([0], {"X-Priority": priority})).error
    question = pb.ModelInferRequest(model_name="digits", raw_input_contents=[bytes(16)])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await over_grpc(gate, question, "free", {"x-priority": priority})
    assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()
    assert 200 == (await gate.ask("POST", "/v2/models/texts/infer", *texts([b"a"]), "free")).status


def texts(elements: list[bytes], name: str = "prompt", **headers: str) -> tuple[bytes, dict[str, str]]:
    """A body of texts in binary, and its headers."""
    tail = pack_bytes(elements)
    entry = {"name": name, "datatype": "BYTES", "shape": [len(elements)], "parameters": {"binary_data_size": len(tail)}}
    head = json.dumps({"inputs": [entry]}).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head)), "X-Priority": "of no interest", **headers}


TEXTS = [
    ([b"a", b"abcd"], "prompt", "default"),
    ([b"a", b"abcde", b""], "prompt", "long"),
    (["äöüß".encode()], "prompt", "default"),
    (["äöüßé".encode()], "prompt", "long"),
    ([b"abcdefgh"], "other", "default"),
    ([], "prompt", "default"),
]


@pytest.mark.parametrize(("elements", "name", "route"), TEXTS)
async def test_lengths_of_texts(gate: Running, elements: list[bytes], name: str, route: str) -> None:
    """Characters of the longest element of the named input, on every wire."""
    json_body = {
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [len(elements)], "data": [e.decode() for e in elements]}]
    }
    for body, headers in (texts(elements, name), (json.dumps(json_body).encode(), {})):
        assert route == (await gate.ask("POST", "/v2/models/texts/infer", body, headers)).headers["x-penstock-route"]
    raw = pb.ModelInferRequest(model_name="texts", raw_input_contents=[pack_bytes(elements)])
    raw.inputs.add(name=name, datatype="BYTES", shape=[len(elements)])
    assert route == await over_grpc(gate, raw, "free", {})


@pytest.mark.timed
@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_large_texts_are_looked_at_beside_the_loop(gate: Running, wire: str) -> None:
    """Two million elements take more than half a second to look at; nobody else waits for that."""
    elements = [b""] * 2_000_000
    body, headers = texts(elements)
    raw = pb.ModelInferRequest(model_name="texts", raw_input_contents=[pack_bytes(elements)])
    raw.inputs.add(name="prompt", datatype="BYTES", shape=[len(elements)])
    worst, done = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal worst
        while not done.is_set():
            before = monotonic()
            await asyncio.sleep(0.001)
            worst = max(worst, monotonic() - before)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        if wire == "http":
            found = (await gate.ask("POST", "/v2/models/texts/infer", body, headers)).headers["x-penstock-route"]
        else:
            found = await over_grpc(gate, raw, "free", {})
        done.set()
    assert ("default", True) == (found, worst < 0.25), worst
