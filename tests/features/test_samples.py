"""Recording samples: what is asked for and no more, whoever asks and however it ends, and never in the way of a request."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.features.conftest import PLAIN, until
from tests.features.oip_server import Waiting, failing
from tests.real_parts import GatewayProcess, start_gateway
from tests.real_parts import until as until_now

if TYPE_CHECKING:
    from tests.features.conftest import Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 300ms
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - {name: unseen, match: {tier: enterprise}, use: fast}
      - {name: dear, match: {header: {x-kind: dear}}, use: accurate, sample: 100%}
      - {name: some, match: {header: {x-kind: some}}, use: fast, sample: 20%}
      - {name: default, sample: 100%, cascade: {confidence: {output: probabilities, metric: max-softmax},
         stages: [{use: fast, accept: 0.9}, {use: accurate}]}}
    fallback: {accurate: fast}
"""


def settings(file: Path, more: str = "") -> dict[str, str]:
    """Samples go to that file."""
    return {"telemetry": f"{{access_log: 'off', samples: {{file: {file}{more}}}}}"}


def samples(folder: Path) -> list[dict[str, Any]]:
    """What is there by now, in whole lines: the last may be on its way."""
    texts = [path.read_text() for path in sorted(folder.glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]


async def test_only_sampled_routes_are_recorded(start: Start, tmp_path: Path) -> None:
    """All of a route that says 100 %, about its share of one that says less, nothing of one that says nothing."""
    gate = await start(POLICY, **settings(tmp_path / "s.jsonl"))
    for _ in range(5):
        await gate.infer([0], caller="enterprise")
    for _ in range(100):
        await gate.infer([0], {"x-kind": "some"})
    await gate.infer([0], {"x-kind": "dear"})
    await until(lambda: any("dear" == each["route"] for each in samples(tmp_path)))
    routes = [each["route"] for each in samples(tmp_path)]
    assert {"some", "dear"} == set(routes)
    assert 5 < routes.count("some") < 45
    assert {0.2, 1.0} == {each["share"] for each in samples(tmp_path)}


async def test_a_request_is_recorded_however_it_ends(start: Start, tmp_path: Path) -> None:
    """Answered, escalated, by a fallback, failed, too late, or left by its client."""
    gate = await start(POLICY, **settings(tmp_path / "s.jsonl"))
    gate.backend.confidence["digits_fast"] = {1: 0.5}
    await gate.infer([0, 1, 1], {"x-request-id": "up"})
    gate.backend.scripts["digits_accurate"] = failing(500)
    await gate.infer([0], {"x-request-id": "instead", "x-kind": "dear"})
    gate.backend.scripts["digits_fast"] = failing(500)
    await gate.infer([0], {"x-request-id": "failed"})
    gate.backend.scripts["digits_fast"] = late = Waiting()
    await gate.infer([0], {"x-request-id": "late"})
    gate.backend.scripts["digits_fast"] = left = Waiting()
    going = asyncio.ensure_future(gate.infer([0], {"x-request-id": "left"}))
    await left.entered.wait()
    going.cancel()
    await until(lambda: 5 == len(samples(tmp_path)))
    found = {each["request_id"]: each for each in samples(tmp_path)}
    assert late.entered.is_set()
    assert ("200", 83.0, "fast→accurate", {"fast": 1, "accurate": 2}) == tuple(
        found["up"][key] for key in ("code", "cost", "escalation", "shares")
    )
    assert [["fast", 3], ["accurate", 2]] == [ask[:2] for ask in found["up"]["asks"]]
    assert [990_000, 500_000, 500_000] == [round(score, -3) for score in found["up"]["asks"][0][3]]
    assert [("fast", 1)] == [tuple(ask[:2]) for ask in found["instead"]["asks"]]
    assert [["accurate", "triton/digits_accurate/", None, ""]] == found["instead"]["stages"]
    assert {"failed": ("502", "broken"), "late": ("504", "deadline"), "left": ("499", "client-left")} == {
        name: (found[name]["code"], found[name]["reason"]) for name in ("failed", "late", "left")
    }
    assert {"default"} == {found[name]["route"] for name in ("up", "failed", "late", "left")}


async def test_a_folder_that_is_not_there_holds_up_nobody(start: Start, tmp_path: Path) -> None:
    """Nor does one that goes while requests come; samples are written again when it is back."""
    folder = tmp_path / "var"
    gate = await start(POLICY.replace("300ms", "5s"), **settings(folder / "s.jsonl"))  # the machine may pause
    assert 200 == (await gate.infer([0])).status
    folder.mkdir()
    await until_recorded(gate, folder)
    folder.rename(tmp_path / "gone")  # at once: in a folder that is emptied bit by bit, a file is made anew
    assert [200] * 5 == [(await gate.infer([0])).status for _ in range(5)]
    folder.mkdir()
    await until_recorded(gate, folder)


async def until_recorded(gate: Any, folder: Path) -> None:
    """Asks until one is recorded."""
    async with asyncio.timeout(5):
        while not samples(folder):
            assert 200 == (await gate.infer([0])).status


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of samples."""
    return {path.name: path.read_bytes() for path in folder.glob("s.jsonl*")}


async def test_files_are_bounded(start: Start, tmp_path: Path) -> None:
    """By size and number, under more requests than fit."""
    gate = await start(POLICY, **settings(tmp_path / "s.jsonl", ", size: 64KiB, keep: 2"))
    for _ in range(600):
        await gate.infer(list(range(20)))
    await gate.gateway._samples.close()  # type: ignore[union-attr]
    files = contents(tmp_path)
    assert ["s.jsonl", "s.jsonl.1"] == sorted(files)
    assert all(0 < len(text) <= 64 << 10 for text in files.values())
    assert all(line.endswith(b"}\n") for text in files.values() for line in text.splitlines(keepends=True))


@pytest.mark.slow
def test_each_worker_has_its_own_file(tmp_path: Path) -> None:
    """Two workers write two files with one salt."""
    variants = {"fast": {"backend": "b", "model": "m"}}
    routes = [{"name": "default", "use": "fast", "sample": "100%"}]
    document = {
        "version": 1,
        "backends": {"b": {"protocol": "triton-http", "endpoints": ["127.0.0.1:9"]}},
        "models": {"digits": {"variants": variants, "routes": routes}},
    }
    gateway = start_gateway(
        tmp_path, document, settings={"workers": 2, "telemetry": {"samples": {"file": str(tmp_path / "s.jsonl")}}}
    )
    try:
        until_now(lambda: _both(gateway, tmp_path))
    finally:
        assert 0 == gateway.stop()
    assert {"s.jsonl", "s-1.jsonl"} == {path.name for path in tmp_path.glob("s*.jsonl")}
    found = samples(tmp_path)
    assert 1 == len({each["salt"] for each in found})
    assert len(found) == len({each["request_id"] for each in found})


def _both(gateway: GatewayProcess, folder: Path) -> bool:
    """One request over a connection of its own; whether both workers have recorded one by now."""
    import http.client

    connection = http.client.HTTPConnection(gateway.http, timeout=5)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
    connection.request("POST", "/v2/models/digits/infer", json.dumps({"inputs": [tensor]}), gateway.credential)
    assert 503 == connection.getresponse().status
    connection.close()
    return 2 == len(list(folder.glob("s*.jsonl")))


async def test_samples_that_nobody_records_are_told_of(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Once at the start, and once when such a policy is reloaded."""
    policy = PLAIN.replace("use: fast}", "use: fast, sample: 10%}")
    running = await start(policy)
    await running.reload(policy + "\n# again\n")
    assert 2 == caplog.text.count("routes say 'sample' ('digits': default) and nothing is recorded")
