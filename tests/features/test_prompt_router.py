"""A route that looks at a trained router's score: on every wire, through reloads, in samples, and before a real Triton."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from backends.tensors import pack_bytes
from gateway.cli import main
from routing.prompt.file import RouterFile, write_router
from routing.prompt.scorer import Term
from tests.features.conftest import until
from tests.features.oip_server import Received, written
from tests.real_parts import GatewayProcess, start_gateway, start_triton
from tests.real_parts import until as until_now

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

ROUTER = write_router(RouterFile(1, 100, 2000, 0.0, (Term("prove", 5, 4.0), Term("hello", 50, -4.0))))
OTHER = write_router(RouterFile(1, 100, 2000, 3.0, (Term("prove", 5, 4.0),)))
POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  chat:
    variants:
      small: {backend: triton, model: echo}
      large: {backend: triton, model: echo}
    routers:
      difficulty: {file: FILE, sha256: "SHA256", input: prompt}
    routes:
      - {name: hard, match: {prompt: {difficulty: {at_least: 0.62}}}, use: large, sample: 100%}
      - {name: easy, match: {prompt: {difficulty: {below: 0.1}}}, use: small}
      - {name: default, use: small}
  digits:
    variants: {fast: {backend: triton, model: digits_fast}}
    routes: [{name: default, use: fast}]
"""
CASES: list[tuple[list[bytes], str]] = [
    ([b"Prove it!"], "hard"),
    ([b"hello", b"PROVE\xff"], "hard"),
    ([b"hello"], "easy"),
    ([b"what?"], "default"),
    ([], "default"),
]


def policy(content: bytes = ROUTER, file: str = "router.json") -> str:
    return POLICY.replace("SHA256", sha256(content).hexdigest()).replace("FILE", file)


async def answering(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A script that gives one number, whatever it is asked."""
    output = {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.0]}
    answer = {"model_name": "echo", "model_version": "1", "outputs": [output]}
    writer.write(written(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}))
    return True


@pytest.fixture
async def gate(start: Start, tmp_path: Path) -> Running:
    """A gateway whose policy has a router beside it."""
    (tmp_path / "router.json").write_bytes(ROUTER)
    telemetry = f"{{access_log: 'off', samples: {{file: {tmp_path / 'samples.jsonl'}}}}}"
    gate = await start(policy(), telemetry=telemetry)
    gate.backend.scripts["echo"] = answering
    return gate


def packed(texts: Sequence[bytes], name: str = "prompt") -> tuple[bytes, dict[str, str]]:
    """A body of texts in binary, and its headers."""
    tail = pack_bytes(list(texts))
    entry = {"name": name, "datatype": "BYTES", "shape": [len(texts)], "parameters": {"binary_data_size": len(tail)}}
    head = json.dumps({"inputs": [entry]}).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head))}


async def route(gate: Running, text: bytes) -> str:
    """The route that one text takes."""
    return (await gate.ask("POST", "/v2/models/chat/infer", *packed([text]))).headers["x-penstock-route"]


async def test_the_score_decides_on_every_wire(gate: Running) -> None:
    """In JSON, in binary and over gRPC; of several texts by the hardest; an input of another name has no score."""
    stub = gate.stub()
    for texts, wanted in CASES:
        plain = [text.decode("utf-8", "replace") for text in texts]
        entry = {"name": "prompt", "datatype": "BYTES", "shape": [len(texts)], "data": plain}
        for body, headers in (packed(texts), (json.dumps({"inputs": [entry]}).encode(), {})):
            assert wanted == (await gate.ask("POST", "/v2/models/chat/infer", body, headers)).headers["x-penstock-route"]
        message = pb.ModelInferRequest(model_name="chat", raw_input_contents=[pack_bytes(texts)])
        message.inputs.add(name="prompt", datatype="BYTES", shape=[len(texts)])
        call = stub.ModelInfer(message, metadata=[("x-api-key", gate.keys["free"])])
        await call
        assert wanted == dict(await call.initial_metadata())["x-penstock-route"]
    elsewhere = await gate.ask("POST", "/v2/models/chat/infer", *packed([b"prove"], "other"))
    assert "default" == elsewhere.headers["x-penstock-route"]
    assert gate.gateway.plane.snapshot.models["digits"].looks is None  # nothing is looked at where no route has a router


async def test_a_router_is_taken_whole_with_its_policy_or_not_at_all(gate: Running, tmp_path: Path) -> None:
    """Another content under the old name is refused with the policy, which stays; a new file with a new hash is taken."""
    before = gate.gateway.plane.snapshot.version
    (tmp_path / "router.json").write_bytes(OTHER)
    assert "default" == await route(gate, b"what?")  # a file alone changes nothing
    await gate.reload(policy() + "# edited\n")
    assert "default" == await route(gate, b"what?")  # what the policy names is what is in force already
    for refused in (policy(b"other"), policy(OTHER, "missing.json")):
        await gate.reload(refused)
        assert gate.gateway.reloader is not None
        assert gate.gateway.reloader.refusal is not None
        assert "models.chat.routers.difficulty.file" in gate.gateway.reloader.refusal.error
        assert "default" == await route(gate, b"what?")
    await gate.reload(policy(OTHER))
    assert "hard" == await route(gate, b"what?")
    assert before != gate.gateway.plane.snapshot.version


async def test_what_is_kept_is_kept_under_its_router(gate: Running, tmp_path: Path) -> None:
    """A hit has the route that its score gives, however often it is asked; another router finds nothing that was kept before."""
    kept = "  chat:\n    cache: {ttl: 1h}\n"
    await gate.reload(policy().replace("  chat:\n", kept))

    async def told(text: bytes) -> tuple[str, bool]:
        reply = await gate.ask("POST", "/v2/models/chat/infer", *packed([text]))
        return reply.headers["x-penstock-route"], "hit" in reply.headers["cache-status"]

    assert [("hard", False), ("easy", False)] == [await told(text) for text in (b"prove", b"hello")]
    for _ in range(4):
        assert [("hard", True), ("easy", True)] == [await told(text) for text in (b"prove", b"hello")]
    (tmp_path / "other.json").write_bytes(OTHER)
    await gate.reload(policy(OTHER, "other.json").replace("  chat:\n", kept))
    assert [("hard", False), ("hard", False), ("hard", True)] == [await told(text) for text in (b"prove", b"hello", b"hello")]


async def test_scores_are_recorded_and_replayed(gate: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As numbers, never the text: another threshold can be tried on the same traffic, another router cannot."""
    log = tmp_path / "samples.jsonl"
    for text in (b"prove", b"prove hello hello", b"prove what"):
        await route(gate, text)
    await until(lambda: log.exists() and 2 == log.read_text().count("\n"))
    recorded = [json.loads(line) for line in log.read_text().splitlines()]
    assert [{f"{sha256(ROUTER).hexdigest()[:16]} prompt": 982_013}] * 2 == [each["prompt"] for each in recorded]
    assert b"prove" not in log.read_bytes()
    old, higher, other = (tmp_path / name for name in ("policy.yaml", "higher.yaml", "other.yaml"))
    higher.write_text(old.read_text().replace("0.62", "0.99"))
    other.write_text(old.read_text().replace(sha256(ROUTER).hexdigest(), "a" * 64))
    assert 0 == main(["policy", "backtest", str(higher), "--log", str(log), "--json"])
    moves = [(each["old"], each["new"], each["requests"]) for each in json.loads(capsys.readouterr().out)["moves"]]
    assert [("hard: large", "default: small", 2.0)] == moves
    assert 0 == main(["policy", "backtest", str(other), "--log", str(log)])
    assert "prompt difficulty" in (printed := capsys.readouterr().out), printed


def real(address: str) -> dict[str, Any]:
    """The same before a real Triton, as a document."""
    router = {"file": "router.json", "sha256": sha256(ROUTER).hexdigest(), "input": "INPUT0"}
    same = {"backend": "triton", "model": "simple_identity"}
    hard = {"name": "hard", "match": {"prompt": {"difficulty": {"at_least": 0.62}}}, "use": "large"}
    model = {"variants": {"small": same, "large": same}, "routers": {"difficulty": router}}
    return {
        "version": 1,
        "backends": {"triton": {"protocol": "triton-http", "endpoints": [address]}},
        "models": {"chat": {**model, "routes": [hard, {"name": "default", "use": "small"}]}},
    }


def asked(gateway: GatewayProcess, text: str) -> tuple[str | None, list[str]]:
    """The variant that answered on a connection of its own, and its answer."""
    connection = http.client.HTTPConnection(gateway.http, timeout=20)
    try:
        entry = {"name": "INPUT0", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
        connection.request("POST", "/v2/models/chat/infer", json.dumps({"inputs": [entry]}), gateway.credential)
        answer = connection.getresponse()
        return answer.headers["X-Penstock-Variant"], json.loads(answer.read())["outputs"][0]["data"]
    finally:
        connection.close()


@pytest.mark.slow
def test_real_processes_before_a_real_triton(tmp_path: Path) -> None:
    """Workers that are killed are followed by some that have the router, though its file is gone."""
    (tmp_path / "router.json").write_bytes(ROUTER)
    with start_triton(("simple_identity",)) as triton:
        gateway = start_gateway(tmp_path, real(triton.http), settings={"workers": 2})
        try:
            wanted = [("large", ["Prove it"]), ("small", ["hello"])] * 4
            assert wanted == [asked(gateway, text) for text in ("Prove it", "hello") * 4]
            (tmp_path / "router.json").unlink()
            pid = gateway.process.pid
            for worker in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
                os.kill(worker, signal.SIGKILL)
            until_now(lambda: 2 == gateway.metric("penstock_worker_ends_total") and 2 == gateway.metric("penstock_workers"))
            assert wanted == [asked(gateway, text) for text in ("Prove it", "hello") * 4]
        finally:
            assert 0 == gateway.stop()
            triton.process.kill()  # nobody waits for an orderly end here
    triton.log.unlink()
