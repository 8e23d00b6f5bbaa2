"""Cascades: only the rows that a cheap model is unsure of go up, in one sub-batch, and come back in their places."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.features.conftest import packed, until
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
    assert ("fast", "8") == (reply.headers["x-penstock-variant"], reply.headers["x-penstock-cost"])  # what is let go is paid
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


def expecting(gate: Running, **seconds: float) -> None:
    """So long do these variants take, as far as the gateway knows; and nearly all rows of the first go up."""
    foresight, model = gate.gateway._lasting.foresight, gate.gateway.plane.snapshot.models["digits"]
    for _ in range(32):
        for target in model.targets:
            if target.variant in seconds:
                foresight.took(target, seconds[target.variant], time.monotonic())
        foresight.went(("digits", "default", "fast"), 10, 9)


async def test_a_stage_that_is_too_slow_for_the_time_left(gate: Running) -> None:
    """It is not asked, and nothing waits for it; who has more time is answered by it."""
    expecting(gate, balanced=2.5)
    hasty = await gate.infer([0, 1], {"X-Request-Timeout-Ms": "2000"})
    assert ("skipped;deadline", [100, 101]) == (hasty.headers["x-penstock-escalation"], hasty.output("label"))
    assert ["digits_fast"] == [each.model for each in gate.backend.asked]
    assert "fast→balanced" == (await gate.infer([0, 1])).headers["x-penstock-escalation"]
    assert 1 == (await gate.metrics())["penstock_escalations_total", ("digits", "fast", "balanced", "deadline")]


BREAKING = POLICY.replace("protocol:", "breaker: {failures: 2, open: 200ms}, protocol:")


async def test_a_stage_that_keeps_failing_is_left_alone(start: Start) -> None:
    """Its breaker opens, and rows stay without an ask; when it is tried again and answers, rows go up as before."""
    gate = await start(BREAKING)
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    gate.backend.scripts["digits_balanced"] = failing(500)
    said = [(await gate.infer([1])).headers["x-penstock-escalation"] for _ in range(2)]
    del gate.backend.scripts["digits_balanced"]
    async with asyncio.timeout(5):
        while said[-1] != "fast→balanced":
            said.append((await gate.infer([1])).headers["x-penstock-escalation"])
    assert ["skipped;error", "skipped;error", "skipped;breaker"] == said[:3]
    assert {"skipped;breaker"} == set(said[2:-1])
    counted = await gate.metrics()
    found = {labels[3]: count for (name, labels), count in counted.items() if name == "penstock_escalations_total"}
    assert {"error": 2, "breaker": len(said) - 3, "asked": 1} == found


async def test_a_stage_whose_server_is_gone(start: Start) -> None:
    """The first model's answer goes out although nobody listens where the next one is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"endpoints: ['127.0.0.1:{taken.getsockname()[1]}']"
        gone = f"gone: {{protocol: triton-http, breaker: {{failures: 2, open: 1h}}, {where}}}"
        policy = POLICY.replace("backends: {", f"backends: {{{gone}, ")
        gate = await start(policy.replace("triton, model: digits_balanced", "gone, model: digits_balanced"))
        gate.backend.confidence = {"digits_fast": {1: 0.5}}
        replies = [await gate.infer([0, 1]) for _ in range(3)]
    assert [(200, [100, 101])] * 3 == [(reply.status, reply.output("label")) for reply in replies]
    said = [reply.headers["x-penstock-escalation"] for reply in replies]
    assert "skipped;breaker" == said[-1]
    assert {"skipped;error", "skipped;breaker"} >= set(said)


async def test_rows_that_depend_on_each_other(start: Start) -> None:
    """A model that says so gets the whole request, or none of it, and so does whoever is asked after it."""
    gate = await start(POLICY.replace("digits_balanced,", "digits_balanced, row_independent: false,"))
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    reply = await gate.infer([0, 1, 2])
    assert [("digits_fast", [0, 1, 2]), ("digits_balanced", [0, 1, 2])] == [
        (each.model, each.rows) for each in gate.backend.asked
    ]
    assert ([200, 201, 202], "balanced") == (reply.output("label"), reply.headers["x-penstock-variant"])


async def test_a_calibrated_cascade(start: Start) -> None:
    """Equal scores of two labels are not worth the same; the label's own map decides, and a stage may have other maps."""
    low, high = "[[0, 0.1], [1, 0.5]]", "[[0, 0.9], [1, 0.95]]"
    maps = f"calibration: {{maps: {{'0': {high}, other: {low}}}}}"
    own = f"calibration: {{label: label, maps: {{'201': {high}, other: {low}}}}}"
    stages = f"stages: [{{use: fast, accept: 0.9}}, {{use: balanced, accept: 0.9, {own}}}, {{use: accurate}}]"
    policy = POLICY.replace("metric: max-softmax", f"metric: max-softmax, {maps}")
    gate = await start(policy[: policy.index("stages:")] + stages)
    reply = await gate.infer([0, 1, 2], outputs=[{"name": "probabilities"}])
    asked = [(each.model, each.rows) for each in gate.backend.asked]
    assert [("digits_fast", [0, 1, 2]), ("digits_balanced", [1, 2]), ("digits_accurate", [2])] == asked
    assert ["probabilities"] == [each["name"] for each in reply.json["outputs"]]


HASTE = POLICY.replace("stages:", "speculate: 80%\n          stages:")


async def test_the_next_stage_is_asked_at_once(start: Start) -> None:
    """Where one after the other would take too long: both are asked about all rows, and those that need it get the second's."""
    gate = await start(HASTE)
    gate.backend.confidence = {"digits_fast": {1: 0.5, 2: 0.5}}
    gate.backend.scripts = {"digits_fast": (fast := Waiting()), "digits_balanced": (balanced := Waiting())}
    expecting(gate, fast=2.0, balanced=2.0)
    asking = asyncio.ensure_future(gate.infer([0, 1, 2], {"X-Request-Timeout-Ms": "3000"}))
    await fast.entered.wait()
    await balanced.entered.wait()
    fast.confidence = {1: 0.5, 2: 0.5}
    for each in (balanced, fast):
        each.go.set()
    reply = await asking
    assert ([100, 201, 202], "fast→balanced") == (reply.output("label"), reply.headers["x-penstock-escalation"])
    assert ("fast=1,balanced=2", f"{3 * 1 + 3 * 6}") == tuple(reply.headers[f"x-penstock-{each}"] for each in ("variant", "cost"))
    assert 1 == (await gate.metrics())["penstock_escalations_total", ("digits", "fast", "balanced", "speculated")]


async def test_what_was_asked_at_once_for_nothing(start: Start) -> None:
    """Where the first stage is sure of every row, the second is let go, is paid, and is not waited for."""
    gate = await start(HASTE)
    gate.backend.scripts = {"digits_balanced": (balanced := Waiting()), "digits_fast": (fast := Waiting())}
    expecting(gate, fast=2.0, balanced=2.0)
    asking = asyncio.ensure_future(gate.infer([0, 1, 2], {"X-Request-Timeout-Ms": "3000"}))
    await balanced.entered.wait()
    fast.go.set()
    reply = await asking
    assert ("none", "fast", f"{3 * 1 + 3 * 6}") == tuple(
        reply.headers[f"x-penstock-{each}"] for each in ("escalation", "variant", "cost")
    )
    await balanced.left.wait()
    assert 1 == (await gate.metrics())["penstock_escalations_total", ("digits", "fast", "balanced", "needless")]
    places = [cluster.in_flight for cluster in gate.gateway.plane.snapshot.clusters.values()]
    assert [0] == places


async def test_a_client_that_leaves_while_both_are_asked(start: Start) -> None:
    """Both are let go, and their places given back."""
    gate = await start(HASTE)
    gate.backend.scripts = {"digits_fast": (fast := Waiting()), "digits_balanced": (balanced := Waiting())}
    expecting(gate, fast=2.0, balanced=2.0)
    asking = asyncio.ensure_future(gate.infer([0, 1, 2], {"X-Request-Timeout-Ms": "3000"}))
    await fast.entered.wait()
    await balanced.entered.wait()
    asking.cancel()
    await fast.left.wait()
    await balanced.left.wait()
    (cluster,) = gate.gateway.plane.snapshot.clusters.values()
    await until(lambda: not cluster.in_flight)
