"""Descriptions: metadata, configuration, statistics, health and the index, all under the public names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.features.conftest import PLAIN, ask, framed

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}
  gone: {protocol: triton-http, endpoints: ["127.0.0.1:9"]}
models:
  digits:
    variants:
      fast: {backend: triton, model: digits_fast}
      second: {backend: triton, model: digits_accurate, version: "2"}
    routes: [{name: big, match: {rows: 9..}, use: second}, {name: default, use: fast}]
  away:
    variants: {only: {backend: gone, model: digits_fast}}
    routes: [{name: default, use: only}]
"""


@pytest.fixture
async def gate(start: Start) -> Running:
    """One model with two variants, and one whose backend is not there."""
    return await start(POLICY)


async def test_the_server(gate: Running) -> None:
    """Who this is and what it carries; a path's trailing parts mean something else."""
    found = (await gate.ask("GET", "/v2")).json
    assert "penstock" == found["name"]
    assert "binary_tensor_data" in found["extensions"]
    assert not {"system_shared_memory", "cuda_shared_memory", "trace", "logging"} & set(found["extensions"])


async def test_metadata_and_configuration(gate: Running) -> None:
    """The first variant's, under the public name."""
    metadata = await gate.ask("GET", "/v2/models/digits")
    assert (200, "digits", "application/json") == (metadata.status, metadata.json["name"], metadata.headers["content-type"])
    assert [{"name": "image", "datatype": "FP32", "shape": [-1, 4]}] == metadata.json["inputs"]
    config = await gate.ask("GET", "/v2/models/digits/config")
    assert ("digits", 64) == (config.json["name"], config.json["max_batch_size"])
    assert "/v2/models/digits_accurate/versions/2/config" == gate.backend.received[-1].path


@pytest.mark.parametrize(
    ("version", "asked"), [("2", "digits_accurate/versions/2"), ("1", "digits_fast/versions/1"), ("9", "digits_fast/versions/9")]
)
async def test_a_version_is_described_by_who_serves_it(gate: Running, version: str, asked: str) -> None:
    """The variant pinned to that version, or else one that leaves it open; a version that no backend has is a 404."""
    reply = await gate.ask("GET", f"/v2/models/digits/versions/{version}")
    assert f"/v2/models/{asked}" == gate.backend.received[-1].path
    assert (404 if version == "9" else 200) == reply.status


async def test_a_version_that_no_variant_serves(start: Start) -> None:
    """Where every variant is pinned, another version is a 404 without asking anybody."""
    gate = await start(PLAIN.replace("digits_fast,", "digits_fast, version: '1',"))
    for path in ("", "/config", "/stats", "/ready"):
        assert (404, "version") == (await gate.ask("GET", f"/v2/models/digits/versions/2{path}")).error


async def test_statistics(gate: Running) -> None:
    """Those of every variant that may answer."""
    stats = (await gate.ask("GET", "/v2/models/digits/stats")).json["model_stats"]
    assert [("digits", "2"), ("digits", "1")] == [(each["name"], each["version"]) for each in stats]


async def test_a_model_is_ready_when_all_its_variants_are(gate: Running) -> None:
    """200, or 503 with the reason; a backend that is gone makes its models unready and nobody else's."""
    assert 200 == (await gate.ask("GET", "/v2/models/digits/ready")).status
    assert 200 == (await gate.ask("GET", "/v2/models/digits/versions/2/ready")).status
    assert (503, "not-ready") == (await gate.ask("GET", "/v2/models/away/ready")).error
    gate.backend.ready = False
    unready = await gate.ask("GET", "/v2/models/digits/ready")
    assert ((503, "not-ready"), "1") == (unready.error, unready.headers["retry-after"])
    assert (404, "not-found") == (await gate.ask("GET", "/v2/models/none/ready")).error


async def test_versions(gate: Running) -> None:
    """Metadata lists every version that some variant answers with, in the order of the routes, each once."""
    assert ["2", "1"] == (await gate.ask("GET", "/v2/models/digits")).json["versions"]


async def test_statistics_of_every_model(gate: Running) -> None:
    """Those that the caller may ask and whose backends tell, under public names."""
    for caller in ("free", "digits-only"):
        found = (await gate.ask("GET", "/v2/models/stats", caller=caller)).json["model_stats"]
        assert [("digits", "1"), ("digits", "2")] == sorted((each["name"], each["version"]) for each in found)
    assert {"model_stats": []} == (await gate.ask("GET", "/v2/models/stats", caller="admin")).json
    assert (401, "no-credential") == (await gate.ask("GET", "/v2/models/stats", caller="")).error


async def test_the_index(gate: Running) -> None:
    """What the caller may ask, with its state; another's models are not in it."""
    listed = (await gate.ask("POST", "/v2/repository/index")).json
    assert [("digits", "READY"), ("away", "UNAVAILABLE")] == [(each["name"], each["state"]) for each in listed]
    mine = (await gate.ask("POST", "/v2/repository/index", caller="digits-only")).json
    assert ["digits"] == [each["name"] for each in mine]
    assert [] == (await gate.ask("POST", "/v2/repository/index", caller="admin")).json


async def test_health_needs_no_credential(gate: Running) -> None:
    """Orchestrators ask without one; everything else wants one. No backend is needed to live or to be ready."""
    gate.backend.ready = False
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert 200 == (await gate.ask("GET", path, caller="")).status
    for path in ("/v2", "/v2/models/digits", "/v2/models/digits/ready"):
        assert (401, "no-credential") == (await gate.ask("GET", path, caller="")).error
    assert 401 == (await gate.ask("POST", "/v2/repository/index", caller="")).status


async def test_the_operators_port(gate: Running) -> None:
    """Health and readiness are there, too, apart from the clients' port."""
    port = gate.gateway.ports.admin.port
    for path in ("/healthz", "/readyz"):
        assert 200 == (await ask(port, framed("GET", path, {}))).status
    gate.gateway.stopping = True
    assert 503 == (await ask(port, framed("GET", "/readyz", {}))).status
    assert 200 == (await ask(port, framed("GET", "/healthz", {}))).status
    assert 503 == (await gate.ask("GET", "/v2/health/ready", caller="")).status
    assert 200 == (await gate.ask("GET", "/v2/health/live", caller="")).status


async def test_a_backend_that_is_gone(gate: Running) -> None:
    """Its models cannot be described: 503, and when to come back."""
    for path in ("", "/config", "/stats"):
        reply = await gate.ask("GET", f"/v2/models/away{path}")
        assert ((503, "unavailable"), "1") == (reply.error, reply.headers["retry-after"])


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/models/digits", "/v2/models/digits/config"])
async def test_head(start: Start, path: str) -> None:
    """HEAD is GET without the body: the same status and length."""
    gate = await start(PLAIN)
    got, headed = await gate.ask("GET", path), await gate.ask("HEAD", path)
    assert (got.status, got.headers["content-length"], b"") == (headed.status, headed.headers["content-length"], headed.body)
