"""Bad input: every mistake is told in the protocol's own words, with the documented status, before a backend is touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError
from tests.features.conftest import PLAIN, ask, framed, image, packed

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

LENGTH = "Inference-Header-Content-Length"
POLICY = (
    PLAIN
    + """
  simple:
    variants: {simple: {backend: triton, model: simple}}
    routes: [{name: default, use: simple}]
"""
)


@pytest.fixture
async def gate(start: Start) -> Running:
    """A gateway that has learnt what the models take."""
    gate = await start(POLICY, limits="{body: 64KiB, inflated: 64KiB}")
    await gate.learned()
    return gate


def entry(**changes: Any) -> bytes:
    """A request whose one input is changed so; None takes a field away."""
    changed = {**image([0]), **changes}
    return json.dumps({"inputs": [{name: value for name, value in changed.items() if value is not None}]}).encode()


def simple(*names: str) -> bytes:
    """A request to `simple` with these inputs."""
    return json.dumps(
        {"inputs": [{"name": name, "datatype": "INT32", "shape": [1, 16], "data": [0] * 16} for name in names]}
    ).encode()


JSON_CASES = {
    "wrong dtype": (entry(datatype="FP64"), "datatype", "FP32"),
    "unknown dtype": (entry(datatype="FLOAT"), "datatype", "FP32"),
    "wrong shape": (entry(shape=[1, 5], data=[0] * 5), "shape", "[-1, 4]"),
    "wrong rank": (entry(shape=[4]), "shape", "[-1, 4]"),
    "negative dimension": (entry(shape=[-1, 4]), "shape", "image"),
    "huge dimensions": (entry(shape=[2**62, 4]), "shape", "needs"),
    "too many dimensions": (entry(shape=[1] * 17), "shape", "16"),
    "too many rows": (entry(shape=[65, 4], data=[0] * 260), "rows", "64"),
    "unknown input": (entry(name="picture"), "unknown-input", "image"),
    "no name": (entry(name=None), "json", "name"),
    "no shape": (entry(shape=None), "json", "shape"),
    "no data": (entry(data=None), "inputs", "data"),
    "shape of text": (entry(shape=["1", "4"]), "json", "shape"),
    "no inputs": (b'{"inputs":[]}', "inputs", "input"),
    "inputs missing": (b"{}", "json", "inputs"),
    "input twice": (json.dumps({"inputs": [image([0])] * 2}).encode(), "inputs", "twice"),
    "invalid JSON": (b'{"inputs":[}', "json", "JSON"),
    "truncated JSON": (entry()[:-3], "json", "JSON"),
    "no JSON at all": (b"\x00\xff\xfe", "json", "JSON"),
    "not UTF-8": (entry(name="image").replace(b"image", b"im\xff\xfege"), "json", "JSON"),
    "an array": (b"[1,2]", "json", "object"),
    "empty": (b"", "json", "JSON"),
    "nested without end": (b'{"inputs":' + b"[" * 30_000, "json", "JSON"),
    "shared memory": (entry(data=None, parameters={"shared_memory_region": "r"}), "shared-memory", "send the tensor"),
    "a parameter that is an object": (entry(parameters={"a": {}}), "json", "parameters"),
}


@pytest.mark.parametrize("case", JSON_CASES)
async def test_json(gate: Running, case: str) -> None:
    """Each mistake in a JSON request is a 400 that says what was expected, and no backend hears of it."""
    body, reason, told = JSON_CASES[case]
    reply = await gate.ask("POST", "/v2/models/digits/infer", body)
    assert (400, reason) == reply.error
    assert told in reply.json["error"]
    assert {"x-request-id", "x-penstock-policy"} <= set(reply.headers)
    assert [] == gate.backend.asked


async def test_missing_and_surplus_inputs(gate: Running) -> None:
    """The missing input is named, and so is the one too many."""
    missing = await gate.ask("POST", "/v2/models/simple/infer", simple("INPUT0"))
    surplus = await gate.ask("POST", "/v2/models/simple/infer", simple("INPUT0", "INPUT1", "INPUT2"))
    assert ((400, "missing-input"), (400, "unknown-input")) == (missing.error, surplus.error)
    assert "INPUT1" in missing.json["error"]
    assert "INPUT2" in surplus.json["error"]
    assert [] == gate.backend.asked
    assert 200 == (await gate.ask("POST", "/v2/models/simple/infer", simple("INPUT1", "INPUT0"))).status


def binary(change: dict[str, Any], tail: int = 16) -> tuple[bytes, int]:
    """A binary request whose one input is changed so, with `tail` bytes behind its head, and the head's length."""
    good = {"name": "image", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [{**good, **change}]}).encode()
    return head + bytes(tail), len(head)


def size(value: Any) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": value}}


BINARY_CASES: dict[str, tuple[tuple[bytes, int], str]] = {
    "truncated tensor": (binary({}, 15), "binary-size"),
    "bytes left over": (binary({}, 17), "binary-size"),
    "no tensor": (binary({}, 0), "binary-size"),
    "size that is not the shape's": (binary(size(12), 12), "shape"),
    "huge size": (binary(size(2**62)), "shape"),
    "negative size": (binary(size(-16)), "binary-size"),
    "size of text": (binary(size("16")), "binary-size"),
    "size that is true": (binary(size(True)), "binary-size"),
    "size that is a fraction": (binary(size(16.5)), "binary-size"),
    "data in both ways": (binary({"data": [0, 0, 0, 0]}), "inputs"),
    "shape that wraps round": (binary({"shape": [2**32, 2**32]}), "shape"),
    "BYTES running past the end": (binary({"datatype": "BYTES", "shape": [1, 1], **size(17)}), "binary-size"),
}


@pytest.mark.parametrize("case", BINARY_CASES)
async def test_binary(gate: Running, case: str) -> None:
    """Lengths that lie are found before anything is decoded."""
    (body, head), reason = BINARY_CASES[case]
    reply = await gate.ask("POST", "/v2/models/digits/infer", body, {LENGTH: str(head)})
    assert (400, reason) == reply.error
    assert [] == gate.backend.asked


@pytest.mark.parametrize("length", ["0", "-1", "99999", "1e2", " ", "12x", "9" * 30, "+5"])
async def test_a_head_s_length_that_lies(gate: Running, length: str) -> None:
    """A head longer than the body, empty, or no number: 400."""
    body, _ = packed([0])
    reply = await gate.ask("POST", "/v2/models/digits/infer", body, {LENGTH: length})
    assert (400, "head-length") == reply.error
    assert [] == gate.backend.asked


async def test_a_head_cut_short(gate: Running) -> None:
    """A length that ends within the JSON leaves no JSON."""
    body, headers = packed([0])
    reply = await gate.ask("POST", "/v2/models/digits/infer", body, {LENGTH: str(int(headers[LENGTH]) - 2)})
    assert (400, "json") == reply.error


async def test_a_body_of_100_megabytes(gate: Running) -> None:
    """A body over the limit is refused by its length alone; one without a length as soon as it passes the limit."""
    port, key = gate.gateway.ports.http.port, gate.credential("free")
    announced = framed("POST", "/v2/models/digits/infer", {**key, "Content-Length": "104857600"})
    assert (413, "body") == (await ask(port, announced)).error
    chunked = framed("POST", "/v2/models/digits/infer", {**key, "Transfer-Encoding": "chunked"})
    flood = [b"8000\r\n", bytes(0x8000), b"\r\n"] * 3
    assert (413, "body") == (await ask(port, [*chunked, *flood])).error
    assert [] == gate.backend.asked


async def test_a_body_that_lies_about_its_length(gate: Running) -> None:
    """Two lengths, or a length and chunks, are a 400: nobody guesses which one holds."""
    port, key = gate.gateway.ports.http.port, gate.credential("free")
    for lie in ({"Content-Length": "5\r\nContent-Length: 6"}, {"Content-Length": "5", "Transfer-Encoding": "chunked"}):
        assert 400 == (await ask(port, framed("POST", "/v2/models/digits/infer", {**key, **lie}))).status
    assert [] == gate.backend.asked


async def test_unknown_models_and_paths(gate: Running) -> None:
    """An unknown model is a 404 that says where to look; so is a path that is none; a wrong method is a 405."""
    unknown = await gate.ask("POST", "/v2/models/digit/infer", entry())
    assert (404, "not-found") == unknown.error
    assert "digit" in unknown.json["error"]
    for path in (
        "/",
        "/v1",
        "/v2/models",
        "/v2/models/digits/infer/x",
        "/v2/models/digits/versions//infer",
        "/v2/models/%64igits",
    ):
        assert (await gate.ask("GET", path)).status in (400, 404)
    wrong = await gate.ask("GET", "/v2/models/digits/infer")
    assert (405, "POST") == (wrong.status, wrong.headers["allow"])
    for path in (
        "/v2/systemsharedmemory/region/r/register",
        "/v2/repository/models/digits/load",
        "/v2/logging",
        "/v2/trace/setting",
    ):
        assert (403, "forbidden") == (await gate.ask("POST", path, caller="admin")).error
    assert [] == gate.backend.asked


async def test_the_backend_judges_while_nothing_is_known(start: Start) -> None:
    """A model that its backend does not describe is asked whatever its client sends."""
    gate = await start(PLAIN.replace("digits_fast", "echo"))
    await gate.learned()
    assert 200 == (await gate.ask("POST", "/v2/models/digits/infer", entry(name="anything", shape=[2, 2]))).status


async def test_a_policy_with_an_unknown_key(start: Start) -> None:
    """A gateway does not start with a policy that it does not understand wholly; the error names line, path and what is near."""
    with pytest.raises(PolicyError, match=r"policy.yaml:6: models.digits.timeuot: .* did you mean 'timeout'"):
        await start(PLAIN.replace("timeout:", "timeuot:"))


def test_a_process_with_an_unknown_key() -> None:
    """The same for the process's own configuration."""
    with pytest.raises(PolicyError, match="did you mean 'telemetry'"):
        load_gateway(b"telemetri: {}", "gateway.yaml")
