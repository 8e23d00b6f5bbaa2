"""Cascades: only the rows that a cheap model is unsure of go up, in one sub-batch, and come back in their places."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.features.conftest import packed
from tests.features.oip_server import Script, Waiting, failing, resetting

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      balanced: {backend: triton, model: digits_balanced, cost: 6}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: balanced, accept: 0.8}, {use: accurate}]
"""


@pytest.fixture
async def gate(start: Start) -> Running:
    """The fast model is unsure of rows 1, 4 and 5, the balanced one of 4."""
    gate = await start(POLICY)
    gate.backend.confidence = {"digits_fast": {1: 0.5, 4: 0.2, 5: 0.89}, "digits_balanced": {4: 0.79}}
    return gate


async def test_unsure_rows_go_up(gate: Running) -> None:
    """Each stage gets exactly the rows that the one before was unsure of, once, in order; the answer is put together in place."""
    reply = await gate.infer([5, 0, 4, 9, 1])
    assert 200 == reply.status
    asked = [(each.model, each.rows) for each in gate.backend.asked]
    assert [("digits_fast", [5, 0, 4, 9, 1]), ("digits_balanced", [5, 4, 1]), ("digits_accurate", [4])] == asked
    assert [205, 100, 304, 109, 201] == reply.output("label")
    classes = np.array(reply.output("probabilities")).reshape(5, 10).argmax(1).tolist()
    assert [5, 0, 4, 9, 1] == classes
    assert ("digits", "fast→balanced→accurate") == (reply.json["model_name"], reply.headers["x-penstock-escalation"])
    assert "fast=2,balanced=2,accurate=1" == reply.headers["x-penstock-variant"]
    assert "digits_fast,digits_balanced,digits_accurate" == reply.headers["x-model-name"]
    assert f"{5 * 1 + 3 * 6 + 1 * 40}" == reply.headers["x-penstock-cost"]


async def test_sure_rows_stay(gate: Running) -> None:
    """When the first stage is sure of every row nobody else is asked."""
    reply = await gate.infer([0, 2, 3], id="mine")
    assert [100, 102, 103] == reply.output("label")
    assert ("none", "fast", "3") == tuple(reply.headers[f"x-penstock-{each}"] for each in ("escalation", "variant", "cost"))
    assert (1, "mine") == (len(gate.backend.asked), reply.json["id"])


async def test_all_rows_unsure(gate: Running) -> None:
    """A batch nobody cheap is sure of ends with the last stage alone."""
    reply = await gate.infer([4])
    assert [304] == reply.output("label")
    assert ("accurate", "digits_accurate", "47") == tuple(
        reply.headers[each] for each in ("x-penstock-variant", "x-model-name", "x-penstock-cost")
    )


async def test_the_confidence_is_fetched_and_left_out(gate: Running) -> None:
    """A client that asks for the label alone gets the label alone, decided by an output it never sees."""
    reply = await gate.infer([0, 1], outputs=[{"name": "label"}])
    assert ["label"] == [each["name"] for each in reply.json["outputs"]]
    assert [100, 201] == reply.output("label")
    for each in gate.backend.asked:
        assert {"label", "probabilities"} == {output["name"] for output in each.head["outputs"]}


async def test_binary_in_binary_out(gate: Running) -> None:
    """Each output comes in the form it was asked for, over stages, too."""
    body, headers = packed([1, 0], outputs=[{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}])
    reply = await gate.ask("POST", "/v2/models/digits/infer", body, headers)
    assert {"binary_data_size": 16} == next(each["parameters"] for each in reply.json["outputs"] if each["name"] == "label")
    assert [201, 100] == np.frombuffer(reply.body[-16:], "<i8").tolist()
    assert 20 == len(reply.output("probabilities"))


async def test_json_and_binary_clients_get_the_same_bits(gate: Running) -> None:
    """What went through the gateway's decoder is bit-equal to what the server holds."""
    body, headers = packed([5, 4, 0], parameters={"binary_data_output": True})
    binary = await gate.ask("POST", "/v2/models/digits/infer", body, headers)
    plain = await gate.infer([5, 4, 0])
    flat = np.array(plain.output("probabilities"), "<f4").tobytes()
    assert flat in binary.body
    assert "application/octet-stream" == binary.headers["content-type"]


async def test_no_time_for_the_next_stage(start: Start) -> None:
    """A stage that has no time left loses nothing: its rows keep the answer they have, in time, and the header says so."""
    gate = await start(POLICY)
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    gate.backend.scripts["digits_balanced"] = waiting = Waiting()
    reply = await gate.infer([0, 1], {"X-Request-Timeout-Ms": "150"})
    assert (200, "skipped;deadline") == (reply.status, reply.headers["x-penstock-escalation"])
    assert [100, 101] == reply.output("label")
    assert ("fast", "2") == (reply.headers["x-penstock-variant"], reply.headers["x-penstock-cost"])
    await waiting.left.wait()


@pytest.mark.parametrize("script", [failing(500), failing(400), resetting, failing(200, body=b"<html>")])
async def test_the_next_stage_fails(gate: Running, script: Script) -> None:
    """A later stage that breaks does not break the answer: `skipped;error`."""
    gate.backend.scripts["digits_balanced"] = script
    reply = await gate.infer([0, 1])
    assert (200, "skipped;error") == (reply.status, reply.headers["x-penstock-escalation"])
    assert [100, 101] == reply.output("label")


async def test_the_last_stage_fails(gate: Running) -> None:
    """Rows keep the best answer there was, here the second stage's."""
    gate.backend.scripts["digits_accurate"] = failing(503)
    reply = await gate.infer([4, 1, 0])
    assert [204, 201, 100] == reply.output("label")
    assert ("skipped;error", "fast=1,balanced=2") == tuple(
        reply.headers[each] for each in ("x-penstock-escalation", "x-penstock-variant")
    )


@pytest.mark.parametrize(("script", "error"), [(failing(500), (502, "broken")), (failing(503), (503, "overloaded"))])
async def test_the_first_stage_fails(gate: Running, script: Script, error: tuple[int, str]) -> None:
    """Without a first answer there is none."""
    gate.backend.scripts["digits_fast"] = script
    assert error == (await gate.infer([0])).error
    assert 1 == len(gate.backend.asked)


async def test_what_a_cascade_cannot_do(gate: Running) -> None:
    """A version, or the deciding output as classes, is refused before anybody is asked."""
    versioned = await gate.infer([0], {"X-Model-Version": "1"})
    classes = await gate.infer([0], outputs=[{"name": "probabilities", "parameters": {"classification": 2}}])
    assert ((400, "version"), (400, "classification")) == (versioned.error, classes.error)
    assert [] == gate.backend.asked


async def test_a_policy_that_names_the_wrong_output(start: Start) -> None:
    """An output that the model does not have is a broken backend, never certainty."""
    gate = await start(POLICY.replace("output: probabilities", "output: probs"))
    assert (502, "confidence") == (await gate.infer([0])).error


async def test_other_metrics(start: Start) -> None:
    """The margin to the second best class decides as well."""
    gate = await start(POLICY.replace("max-softmax", "margin"))
    gate.backend.confidence = {"digits_fast": {1: 0.9}}  # 0.9 - 0.1/9 is less than 0.9
    await gate.infer([0, 1])
    assert [("digits_fast", [0, 1]), ("digits_balanced", [1])] == [(each.model, each.rows) for each in gate.backend.asked]


async def test_tensors_that_are_wrong_inside(gate: Running) -> None:
    """On a route that looks, what does not fit its shape is refused before anybody is asked."""
    short = {"name": "image", "datatype": "FP32", "shape": [2, 4], "data": [0.0] * 7}
    text = {"name": "image", "datatype": "FP32", "shape": [1, 4], "data": ["a", "b", "c", "d"]}
    large = {"name": "image", "datatype": "FP32", "shape": [1, 4], "data": [1e300, 0, 0, 0]}
    for entry, reason in ((short, "shape"), (text, "elements"), (large, "range")):
        reply = await gate.ask("POST", "/v2/models/digits/infer", json.dumps({"inputs": [entry]}).encode())
        assert (400, reason) == reply.error
    assert [] == gate.backend.asked
