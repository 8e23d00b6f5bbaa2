"""version_policy: which of a model's versions clients may ask for, over HTTP and gRPC, whatever they ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.features.conftest import PLAIN

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

BODY = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'
PATHS = (("POST", "/infer"), ("GET", ""), ("GET", "/config"), ("GET", "/stats"), ("GET", "/ready"))


def kept(policy: str) -> str:
    return PLAIN.replace("    timeout: 5s\n", f"    timeout: 5s\n    version_policy: {policy}\n")


async def over_http(gate: Running, version: str) -> list[tuple[int, str]]:
    """How every question about that version ends: status and reason."""
    found = []
    for method, path in PATHS:
        reply = await gate.ask(method, f"/v2/models/digits/versions/{version}{path}", BODY if method == "POST" else b"")
        found.append((reply.status, reply.headers.get("x-penstock-error", "")))
    return found


async def over_grpc(gate: Running, version: str) -> list[tuple[str, str]]:
    """The same: status and reason."""
    stub, found = gate.stub(), []
    question = pb.ModelInferRequest(model_name="digits", model_version=version, raw_input_contents=[np.zeros(4, "<f4").tobytes()])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    named: dict[str, Any] = {"name": "digits", "version": version}
    for ask, message in (
        (stub.ModelInfer, question),
        (stub.ModelMetadata, pb.ModelMetadataRequest(**named)),
        (stub.ModelConfig, pb.ModelConfigRequest(**named)),
        (stub.ModelStatistics, pb.ModelStatisticsRequest(**named)),
        (stub.ModelReady, pb.ModelReadyRequest(**named)),
    ):
        try:
            await ask(message, metadata=[("x-api-key", gate.keys["free"])])
            found.append(("OK", ""))
        except grpc.aio.AioRpcError as error:
            found.append((error.code().name, str(dict(error.trailing_metadata() or ())["x-penstock-error"])))
    return found


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [("all", ["1", "2"]), ("specific(1)", ["1"]), ("specific(2, 7)", ["2"]), ("latest(1)", ["2"]), ("latest(2)", ["1", "2"])],
)
async def test_versions_outside_are_not_there(start: Start, policy: str, allowed: list[str]) -> None:
    """404 with the reason `version` for all five questions on both ports; metadata lists the others. The server has 1 and 2."""
    gate = await start(kept(policy))
    await gate.learned()
    for version in ("1", "2"):
        if version in allowed:
            assert {(200, "")} == set(await over_http(gate, version))
            assert {("OK", "")} == set(await over_grpc(gate, version))
        else:
            asked = len(gate.backend.received)
            assert {(404, "version")} == set(await over_http(gate, version))
            assert {("NOT_FOUND", "version")} == set(await over_grpc(gate, version))
            assert not [each for each in gate.backend.received[asked:] if f"/versions/{version}" in each.path]
    assert allowed == (await gate.ask("GET", "/v2/models/digits")).json["versions"]
    described = await gate.stub().ModelMetadata(
        pb.ModelMetadataRequest(name="digits"), metadata=[("x-api-key", gate.keys["free"])]
    )
    assert allowed == list(described.versions)
    assert 200 == (await gate.infer([0])).status  # who names no version gets what the server takes


async def test_what_nobody_knows_yet(start: Start) -> None:
    """Of the latest one nobody can tell while no backend has told its versions: 503, and answered without a version."""
    gate = await start(kept("latest(1)").replace("digits_fast", "echo"))  # which the server does not describe
    assert {(503, "not-ready")} == set(await over_http(gate, "1"))
    assert {("UNAVAILABLE", "not-ready")} == set(await over_grpc(gate, "1"))
    assert 200 == (await gate.infer([0])).status


async def test_a_variant_s_own_version(start: Start) -> None:
    """What the policy pins is no client's choice: it answers, and may be asked for, though newer ones are there."""
    gate = await start(kept("latest(1)").replace("digits_fast,", "digits_fast, version: '1',"))
    assert (200, "1") == ((reply := await gate.infer([0])).status, reply.headers["x-model-version"])
    assert {(200, "")} == set(await over_http(gate, "1"))
    assert {(404, "version")} == set(await over_http(gate, "2"))
