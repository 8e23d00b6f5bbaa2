"""Versions that clients insist on: the same rules in the same words over HTTP and gRPC, whatever is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    variants: {open: {backend: triton, model: digits_fast}, second: {backend: triton, model: digits_accurate, version: "2"}}
    routes: [{name: new, match: {header: {x-new: "1"}}, use: second}, {name: default, use: open}]
  pinned:
    variants: {only: {backend: triton, model: digits_fast, version: "1"}}
    routes: [{name: default, use: only}]
"""
BODY = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'
NONE = ["abc", "-1", "0", "01", "1.0", "9" * 30]
PATHS = (("POST", "/infer"), ("GET", ""), ("GET", "/config"), ("GET", "/stats"), ("GET", "/ready"))


@pytest.fixture
async def gate(start: Start) -> Running:
    """One model with a variant that leaves its version open, one without."""
    return await start(POLICY)


async def over_http(gate: Running, model: str, version: str, header: str = "") -> list[tuple[int, str, str]]:
    """What every question about that version is told: status, reason and text."""
    found = []
    for method, path in PATHS:
        named = f"/versions/{version}" if version else ""
        headers = {"X-Model-Version": header} if header else {}
        body = BODY if method == "POST" else b""
        reply = await gate.ask(method, f"/v2/models/{model}{named}{path}", body, headers)
        found.append((*reply.error, reply.json["error"]))
    return found


async def over_grpc(gate: Running, model: str, version: str, header: str = "") -> list[tuple[str, str, str]]:
    """The same."""
    stub, found = gate.stub(), []
    question = pb.ModelInferRequest(model_name=model, model_version=version, raw_input_contents=[np.zeros(4, "<f4").tobytes()])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    named: dict[str, Any] = {"name": model, "version": version}
    asks = [
        (stub.ModelInfer, question),
        (stub.ModelMetadata, pb.ModelMetadataRequest(**named)),
        (stub.ModelConfig, pb.ModelConfigRequest(**named)),
        (stub.ModelStatistics, pb.ModelStatisticsRequest(**named)),
        (stub.ModelReady, pb.ModelReadyRequest(**named)),
    ]
    metadata = [("x-api-key", gate.keys["free"])] + ([("x-model-version", header)] if header else [])
    for ask, message in asks:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(message, metadata=metadata)
        reason = dict(caught.value.trailing_metadata() or ())["x-penstock-error"]
        found.append((caught.value.code().name, str(reason), str(caught.value.details())))
    return found


@pytest.mark.parametrize("version", NONE)
@pytest.mark.parametrize("by_header", [False, True])
async def test_what_is_no_version(gate: Running, version: str, by_header: bool) -> None:
    """400 and INVALID_ARGUMENT with one text for all, and no backend hears of it; in the path, the message or a header."""
    text = "that is no version of model 'digits': versions are whole numbers from 1, without a sign"
    named = ("", version) if by_header else (version,)
    before = len(gate.backend.received)
    assert {(400, "version", text)} == set(await over_http(gate, "digits", *named))
    assert {("INVALID_ARGUMENT", "version", text)} == set(await over_grpc(gate, "digits", *named))
    assert not [each for each in gate.backend.received[before:] if version in each.path]
    assert [] == gate.backend.asked


async def test_a_version_that_the_backend_has_not(gate: Running) -> None:
    """404 and NOT_FOUND in our words, readiness included."""
    text = "model 'digits' has no version '7'"
    assert {(404, "version", text)} == set(await over_http(gate, "digits", "7"))
    assert {("NOT_FOUND", "version", text)} == set(await over_grpc(gate, "digits", "7"))


async def test_a_version_that_the_policy_has_not(gate: Running) -> None:
    """The same without asking any backend; a question for inference hears which version its route has."""
    before = len(gate.backend.received)
    texts = [
        "version '7' is not served on route 'default'; it answers with version '1'",
        *["model 'pinned' has no version '7'"] * 4,
    ]
    assert [(404, "version", text) for text in texts] == await over_http(gate, "pinned", "7")
    assert [("NOT_FOUND", "version", text) for text in texts] == await over_grpc(gate, "pinned", "7")
    assert not [each for each in gate.backend.received[before:] if "/versions/7" in each.path]


async def test_a_version_of_another_variant(start: Start) -> None:
    """Where the route leaves the version open and its backend has none such, that is the client's mistake; where the policy
    itself names it, an outage."""
    gate = await start(POLICY.replace('version: "2"', 'version: "7"'))
    path = "/v2/models/digits/versions/7/infer"
    refused = await gate.ask("POST", path, BODY)
    assert (404, "version") == refused.error
    assert "version '7' is not served on route 'default'" == refused.json["error"]
    assert (503, "not-loaded") == (await gate.ask("POST", path, BODY, {"x-new": "1"})).error


async def test_two_different_versions(gate: Running) -> None:
    """400 and INVALID_ARGUMENT: which of them counts is not for us to guess."""
    text = "x-model-version is not the version that the path or message names: give one of them"
    assert {(400, "version", text)} == set(await over_http(gate, "digits", "1", "2"))
    assert {("INVALID_ARGUMENT", "version", text)} == set(await over_grpc(gate, "digits", "1", "2"))
    assert [] == gate.backend.asked


async def test_a_version_that_is_known_but_not_ready(gate: Running) -> None:
    """503 and `ready: false`, not 404."""
    gate.backend.ready = False
    assert (503, "not-ready") == (await gate.ask("GET", "/v2/models/digits/versions/1/ready")).error
    asked = pb.ModelReadyRequest(name="digits", version="1")
    assert not (await gate.stub().ModelReady(asked, metadata=[("x-api-key", gate.keys["free"])])).ready


async def test_the_header_chooses_for_descriptions_too(gate: Running) -> None:
    """X-Model-Version means there what the path's version means."""
    await gate.ask("GET", "/v2/models/digits/config", headers={"X-Model-Version": "2"})
    assert "/v2/models/digits_accurate/versions/2/config" == gate.backend.received[-1].path
