"""Aliases: another public name of a model, by the same routes and the same permission."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.features.conftest import PLAIN, packed

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = PLAIN.replace("version: 1\n", "version: 1\naliases: {mnist: digits, zip-codes: digits}\n")


@pytest.fixture
async def gate(start: Start) -> Running:
    """One model of three names."""
    return await start(POLICY)


def question(model: str) -> pb.ModelInferRequest:
    found = pb.ModelInferRequest(model_name=model, raw_input_contents=[np.zeros((1, 4), "<f4").tobytes()])
    found.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    return found


async def test_an_answer(gate: Running) -> None:
    """It is told under the name that was asked for; headers say what really answered, metrics have the model's own name."""
    body, headers = packed([0])
    http = await gate.ask("POST", "/v2/models/mnist/infer", body, headers)
    call = gate.stub().ModelInfer(question("mnist"), metadata=[("x-api-key", gate.keys["free"])])
    answer, told = await call, dict(await call.initial_metadata())
    assert ("mnist", "mnist") == (http.json["model_name"], answer.model_name)
    for found in (http.headers, told):
        assert ("digits_fast", "default", "fast") == tuple(
            found[name] for name in ("x-model-name", "x-penstock-route", "x-penstock-variant")
        )
    assert ["digits_fast", "digits_fast"] == [each.model for each in gate.backend.asked]
    metrics = await gate.metrics()
    assert {"digits"} == {labels[0] for (name, labels), _ in metrics.items() if name == "penstock_requests_total"}


async def test_permission_is_the_model_s(gate: Running) -> None:
    """Who may ask the model may ask it by any name; who may not hears which scope it takes."""
    body, headers = packed([0])
    for path, method, sent in (("/infer", "POST", body), ("", "GET", b""), ("/config", "GET", b""), ("/ready", "GET", b"")):
        more = headers if sent else {}
        assert 200 == (await gate.ask(method, f"/v2/models/mnist{path}", sent, more, "digits-only")).status
        refused = await gate.ask(method, f"/v2/models/mnist{path}", sent, more, "admin")
        assert (403, "forbidden") == refused.error
        assert "'models:infer:digits'" in refused.json["error"]
    stub = gate.stub()
    await stub.ModelInfer(question("mnist"), metadata=[("x-api-key", gate.keys["digits-only"])])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(question("mnist"), metadata=[("x-api-key", gate.keys["admin"])])
    assert grpc.StatusCode.PERMISSION_DENIED is caught.value.code()


async def test_descriptions_have_the_name_asked_for(gate: Running) -> None:
    """Metadata, configuration, statistics; a version in the path goes with it."""
    for path in ("", "/config", "/versions/2", "/versions/2/config"):
        assert "mnist" == (await gate.ask("GET", f"/v2/models/mnist{path}")).json["name"]
    stats = (await gate.ask("GET", "/v2/models/mnist/stats")).json["model_stats"]
    assert ["mnist"] == [entry["name"] for entry in stats]
    metadata = [("x-api-key", gate.keys["free"])]
    assert "mnist" == (await gate.stub().ModelMetadata(pb.ModelMetadataRequest(name="mnist"), metadata=metadata)).name


async def test_the_index_lists_every_name(gate: Running) -> None:
    """To those who may ask the model, over HTTP and gRPC."""
    names = ["digits", "mnist", "zip-codes"]
    assert names == [entry["name"] for entry in (await gate.ask("POST", "/v2/repository/index")).json]
    assert [] == (await gate.ask("POST", "/v2/repository/index", caller="admin")).json
    index = await gate.stub().RepositoryIndex(pb.RepositoryIndexRequest(), metadata=[("x-api-key", gate.keys["free"])])
    assert names == [entry.name for entry in index.models]


async def test_a_reload_takes_an_alias_away(gate: Running) -> None:
    """Then it is a name like any other that nobody has."""
    await gate.reload(PLAIN)
    assert (404, "not-found") == (await gate.ask("GET", "/v2/models/mnist")).error
