"""Recorded requests: replayed under the policy that served them nothing changes; under another it is foretold what happens."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from gateway.review.traffic.decided import ByPolicy
from gateway.review.traffic.log import Tally, read_samples
from gateway.telemetry.sample import Sample
from tests.features.conftest import image, until

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
aliases: {numbers: digits}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 0.1}
      balanced: {backend: triton, model: digits_balanced, version: "1", cost: 0.7}
      accurate: {backend: triton, model: digits_accurate, cost: 3.3}
    routes:
      - {name: big, match: {rows: 6.., tier: enterprise}, use: accurate, sample: 100%}
      - {name: urgent, match: {priority: ..2}, use: fast, sample: 100%}
      - {name: wide, match: {any: [{bytes: 80B..}, {parameter: {mode: deep}}], header: {x-kind: a}}, use: balanced, sample: 100%}
      - {name: bigco, match: {tenant: bigco, header: {x-kind: b}}, split: {fast: 60, accurate: 40}, unit: tenant, sample: 100%}
      - {name: users, match: {header: {x-kind: c}}, split: {fast: 50, balanced: 50}, unit: "header:x-user", sample: 100%}
      - {name: each, match: {header: {x-kind: d}}, split: {fast: 1, accurate: 2}, sample: 100%}
      - {name: two, match: {header: {x-kind: e}}, sample: 100%, cascade: {confidence: {output: probabilities, metric: margin},
         stages: [{use: fast, accept: 0.5}, {use: accurate}]}}
      - name: default
        sample: 100%
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: balanced, accept: 0.7}, {use: accurate}]
    fallback: {accurate: fast}
"""
OTHER = (
    POLICY.replace("accept: 0.9}", "accept: 0.6}")
    .replace("{use: balanced, accept: 0.7}, ", "")
    .replace("fast: 60, accurate: 40", "fast: 20, accurate: 80")
    .replace("fast: 50, balanced: 50", "fast: 70, balanced: 30")
    .replace("{use: fast, accept: 0.5}, ", "{use: fast, accept: 0.51}, {use: balanced, accept: 0.8}, ")
    .replace("rows: 6..", "rows: 4..")
    .replace("priority: ..2", "priority: ..1")
    .replace("cost: 3.3", "cost: 2.9")
)
SEED = 4


def settings(folder: Path) -> dict[str, str]:
    """Everything is recorded."""
    return {"telemetry": f"{{access_log: 'off', samples: {{file: {folder / 'samples.jsonl'}}}}}"}


def treatment(policy: str) -> ByPolicy:
    """The policy, as it decides about samples."""
    document = load_policy(policy.replace("PORT", "1").encode(), "policy.yaml")
    return ByPolicy(route_tables(document), document.aliases)


def samples(folder: Path) -> list[Sample]:
    """What was recorded."""
    tally = Tally()
    found = list(read_samples(sorted(folder.glob("samples*.jsonl*")), tally))
    assert (0, 0) == (tally.damaged, tally.dropped)
    return found


def unsure(gate: Running) -> None:
    """Makes the models more or less sure of rows, some of them exactly as sure as thresholds ask."""
    chance = random.Random(SEED)
    for model in ("digits_fast", "digits_balanced", "digits_accurate"):
        gate.backend.confidence[model] = {
            row: chance.choice((0.9, 0.6, 0.7, 0.8, 0.51, 0.5, chance.random() * 0.9 + 0.1)) for row in range(64)
        }


def requests(count: int) -> Iterable[tuple[str, str, dict[str, str], list[int], dict[str, Any]]]:
    """Path, caller, headers, rows and parameters of all sorts of requests, always the same."""
    chance = random.Random(SEED)
    for number in range(count):
        headers = {"x-request-id": f"r{number}", "x-kind": chance.choice("abcdefgh")}
        if chance.random() < 0.8:
            headers["x-user"] = f"u{chance.randrange(9)}"
        if chance.random() < 0.3:
            headers["x-priority"] = str(chance.randrange(5))
        if chance.random() < 0.15:
            headers["x-model-version"] = chance.choice(["1", "2"])
        name = chance.choice(["digits", "digits", "numbers"])
        rows = [chance.randrange(64) for _ in range(chance.randrange(1, 9))]
        parameters = {"mode": chance.choice(["deep", "flat"])} if chance.random() < 0.3 else {}
        yield f"/v2/models/{name}/infer", chance.choice(["free", "enterprise", "digits-only"]), headers, rows, parameters


async def play(gate: Running, count: int) -> dict[str, tuple[str, str, str, str]]:
    """Sends them; route, variants, cost and reason of each answer, by request id."""
    found = {}
    for path, caller, headers, rows, parameters in requests(count):
        body = json.dumps({"inputs": [image(rows)], **({"parameters": parameters} if parameters else {})}).encode()
        reply = await gate.ask("POST", path, body, headers, caller)
        told = [reply.headers.get(f"x-penstock-{name}", "") for name in ("route", "variant", "cost", "error")]
        found[headers["x-request-id"]] = (told[0], told[1], told[2], told[3])
    return found


async def play_grpc(gate: Running, count: int) -> None:
    """Sends the same over gRPC."""
    stub = gate.stub()
    for path, caller, headers, rows, parameters in requests(count):
        asked = service_pb2.ModelInferRequest(model_name=path.split("/")[3])
        tensor = asked.inputs.add(name="image", datatype="FP32", shape=[len(rows), 4])
        tensor.contents.fp32_contents.extend([value for row in rows for value in (float(row), 0.0, 0.0, 0.0)])
        for name, value in parameters.items():
            asked.parameters[name].string_param = value
        metadata = [(name.lower(), value) for name, value in {**headers, **gate.credential(caller)}.items()]
        call = stub.ModelInfer(asked, metadata=metadata)
        assert await call.code() in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_the_policy_that_served_changes_nothing(start: Start, tmp_path: Path, wire: str) -> None:
    """Route, variants, refusal and cost of every sample come out again, splits by tenant and by header among them."""
    gate = await start(POLICY, **settings(tmp_path))
    unsure(gate)
    answers = await play(gate, 300) if wire == "http" else {}
    if wire == "grpc":
        await play_grpc(gate, 300)
    file = tmp_path / "samples.jsonl"
    await until(lambda: file.exists() and 300 == file.read_bytes().count(b"\n"))
    same = treatment(POLICY)
    for sample in samples(tmp_path):
        decided = same.decided(sample)
        forecast = same.forecast(sample, decided)
        assert (sample.route, sample.reason) == (decided.route, decided.refused)
        assert sample.cost == forecast.low == forecast.high
        if wire == "http":
            route, _, cost, error = answers[sample.request_id]
            assert (route, error, cost) == (sample.route, sample.reason, f"{sample.cost:.10g}" if not error else "")
    assert (0, 0, {}) == (same.replay.drawn, same.replay.guessed, same.replay.blind)
    assert {"big", "urgent", "wide", "bigco", "users", "each", "two", "default", ""} == {each.route for each in samples(tmp_path)}
    assert {"version"} == {each.reason for each in samples(tmp_path)} - {""}


async def test_what_is_foretold_is_what_happens(start: Start, tmp_path: Path) -> None:
    """Another policy's routes and costs, told from the log, are those of the same requests under it; or lie in its bounds."""
    gate = await start(POLICY, **settings(tmp_path))
    unsure(gate)
    await play(gate, 300)
    file = tmp_path / "samples.jsonl"
    await until(lambda: file.exists() and 300 == file.read_bytes().count(b"\n"))
    before = samples(tmp_path)
    await gate.reload(OTHER)
    happened = await play(gate, 300)
    other, exact, changed = treatment(OTHER), 0, 0
    for sample in before:
        decided = other.decided(sample)
        forecast = other.forecast(sample, decided)
        route, variant, cost, error = happened[sample.request_id]
        assert (route, error) == (decided.route, decided.refused)
        changed += (sample.route, sample.cost) != (route, float(cost or 0))
        if forecast.low == forecast.high:
            exact += 1
            assert f"{forecast.low:.10g}" == (cost or "0"), (sample, variant)
        else:
            assert forecast.low - 1e-9 <= float(cost) <= forecast.high + 1e-9
    assert 0 == other.replay.drawn
    assert exact > 240
    assert changed > 100
