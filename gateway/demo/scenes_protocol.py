"""Scenes about the wire and the numbers: one answer in every form, example models, streams, batches, costs, the end."""

from __future__ import annotations

import json
import re
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from statistics import median

import numpy as np

from gateway.demo.client import FORMS, Array, Question, Reply
from gateway.demo.comparison import offline_cascade
from gateway.demo.expect import WrongError, equal, true, until
from gateway.demo.policy import ALWAYS, MODEL
from gateway.demo.processes import STOP_SECONDS, get
from gateway.demo.scenes_routing import answered
from gateway.demo.setting import Setting
from gateway.demo.table import number


def same_answers(setting: Setting) -> str:
    """The same eight digits in each form there is."""
    question = replace(setting.digits(slice(0, 8)), headers=setting.credentials.enterprise)
    replies: dict[str, Reply] = {form: answered(setting, replace(question, form=form)) for form in FORMS}
    replies["grpc"] = setting.grpc.ask(question)
    equal("status over gRPC", "OK", replies["grpc"].status)
    for name, reply in replies.items():
        equal(f"answering variant, {name}", replies["binary"].variant, reply.variant)
        for output, expected in replies["binary"].outputs.items():
            seen = reply.outputs[output]
            true(f"'{output}' by {name} bit for bit as by binary", expected.tobytes() == seen.tobytes(), seen.tolist())
    return "8 digits as JSON, gzipped JSON, binary and gRPC: the same probabilities and labels, bit for bit"


def example_models(setting: Setting) -> str:
    """What Triton's own example clients ask, and the descriptions they read first."""
    numbers = np.arange(16, dtype=np.int32).reshape(1, 16)
    ones = np.ones_like(numbers)
    key = setting.credentials.free
    summed = answered(setting, Question("simple", {"INPUT0": numbers, "INPUT1": ones}, key))
    equal("simple: the sum", (numbers + ones).tolist(), summed.outputs["OUTPUT0"].tolist())
    equal("simple: the difference", (numbers - ones).tolist(), summed.outputs["OUTPUT1"].tolist())
    words: dict[str, Array] = {"INPUT0": numbers.astype(str), "INPUT1": ones.astype(str)}
    spelled = answered(setting, Question("simple_string", words, key, form="json"))
    equal("simple_string: the sum", (numbers + ones).astype(str).tolist(), spelled.outputs["OUTPUT0"].tolist())
    text = {"INPUT0": np.array([["a digit", "ζ", ""]])}
    echoed = answered(setting, Question("simple_identity", text, key, form="json"))
    equal("simple_identity", text["INPUT0"].tolist(), echoed.outputs["OUTPUT0"].tolist())
    status, described = setting.http.get(f"/v2/models/{MODEL}", key)
    equal("status and name of the metadata", (200, MODEL), (status, described["name"]))
    equal("status of ready", 200, setting.http.get(f"/v2/models/{MODEL}/ready", key)[0])
    return "simple adds and subtracts, simple_string does it in words, simple_identity echoes; metadata and readiness"


def _repeat(setting: Setting, values: list[int], delay: int) -> Question:
    """repeat_int32: each value back, each after `delay` milliseconds."""
    many = np.array(values, dtype=np.int32)
    inputs = {"IN": many, "DELAY": np.full(len(values), delay, np.uint32), "WAIT": np.zeros(1, np.uint32)}
    return Question("repeat_int32", inputs, setting.credentials.free)


def stream(setting: Setting) -> str:
    """One question, five answers, each as it comes."""
    start, seen, times = time.perf_counter(), [], []
    for outputs in setting.grpc.stream(_repeat(setting, [2, 3, 5, 7, 11], 100)):
        seen.append(int(outputs["OUT"][0]))
        times.append(time.perf_counter() - start)
    equal("the stream's answers", [2, 3, 5, 7, 11], seen)
    apart = times[-1] - times[0]  # 400 ms, less what a busy machine holds the first one up
    true("answers as they come, 100 ms apart", apart > 0.15, [f"{seconds:.3f}" for seconds in times])
    first, last = times[0] * 1000, times[-1] * 1000
    return f"one gRPC question to repeat_int32, 5 answers: the first after {first:.0f} ms, the last after {last:.0f} ms"


def hang_up(setting: Setting) -> str:
    """A client that leaves after the first of many answers; what it asked for ends at once."""

    def abandoned() -> float:
        return setting.gateway.metric("penstock_abandoned_total", stage="backend")

    def in_flight() -> float:
        return setting.gateway.metric("penstock_in_flight")

    before = abandoned()
    with closing(setting.grpc.stream(_repeat(setting, list(range(200)), 100))) as answers:
        next(answers)
        equal("questions held for this client", 1, int(in_flight()))
    start = time.perf_counter()
    until("the abandoned question ended", lambda: abandoned() == before + 1 and in_flight() == 0, 5)
    took = (time.perf_counter() - start) * 1000
    return f"a client leaves a 20 s stream after one answer: within {took:.0f} ms the gateway has let go of Triton too"


def batching(setting: Setting) -> str:
    """Triton's own statistics while many single rows come side by side."""
    variant = setting.policy.stages()[0][0]
    model = setting.policy.variants[variant]["model"]
    before = _batches(setting, model)
    questions = [setting.digits(slice(row, row + 1), ALWAYS + variant) for row in range(256)]
    statuses = {reply.status for reply in setting.at_once(questions, 16)}
    equal("statuses of single rows", {200}, statuses)
    inferences, executions = (after - start for after, start in zip(_batches(setting, model), before, strict=True))
    equal("inferences that Triton counts", len(questions), inferences)
    true("fewer executions than inferences", executions < inferences, f"{executions} executions")
    return f"{inferences} single rows, 16 clients at a time: Triton ran them as {executions} batches (its own statistics)"


def _batches(setting: Setting, model: str) -> tuple[int, int]:
    """Triton's counts of inferences and of executions."""
    stats = json.loads(get(setting.triton.http, f"/v2/models/{model}/stats")[1])["model_stats"]
    return sum(each["inference_count"] for each in stats), sum(each["execution_count"] for each in stats)


def savings(setting: Setting) -> str:
    """The gateway's own numbers; asked when the cascade's comparison is all that `digits` was asked."""
    gateway, rows = setting.gateway, len(setting.held_out.labels)
    counted = sum(gateway.metric("penstock_rows_total", model=MODEL, variant=variant) for variant in setting.policy.variants)
    equal("penstock_rows_total", rows, int(counted))
    cost, baseline = (
        gateway.metric("penstock_cost_total", model=MODEL),
        gateway.metric("penstock_cost_baseline_total", model=MODEL),
    )
    equal("penstock_cost_baseline_total", rows * max(map(setting.policy.cost, setting.policy.variants)), baseline)
    equal("penstock_cost_total", offline_cascade(setting).cost, cost)
    saved = f"{1 - cost / baseline:.0%} saved"
    return (
        f"the gateway counts for the cascade {number(cost)}, and {number(baseline)} had the dearest model answered all: {saved}"
    )


def timing(setting: Setting) -> str:
    """One client, one row at a time: how much of the time is the gateway's own, by its Server-Timing."""
    question = replace(setting.digits(slice(0, 1)), headers=setting.credentials.enterprise)
    replies = [answered(setting, question) for _ in range(100)]
    parts = [_server_timing(reply) for reply in replies]
    for (own, backend), reply in zip(parts, replies, strict=True):
        true(
            "Server-Timing within what the client measured", own + backend <= reply.seconds * 1000, (own, backend, reply.seconds)
        )
    whole = median(reply.seconds for reply in replies) * 1000
    own = median(own for own, _ in parts)
    return f"one client, median of {len(replies)}: {whole:.1f} ms, of which the gateway's own {own:.2f} ms (Server-Timing)"


def _server_timing(reply: Reply) -> tuple[float, float]:
    """Milliseconds in the gateway and at the backend."""
    own, backend = re.findall(r"dur=([0-9.]+)", reply.headers["server-timing"])
    return float(own), float(backend)


def stop(setting: Setting) -> str:
    """SIGTERM while a stream is under way; the access log is complete afterwards."""
    with closing(setting.grpc.stream(_repeat(setting, [1, 2, 3, 4], 150))) as answers:
        seen = [int(next(answers)["OUT"][0])]
        setting.gateway.process.terminate()
        seen += [int(outputs["OUT"][0]) for outputs in answers]
    equal("answers of the stream that SIGTERM met", [1, 2, 3, 4], seen)
    try:
        status = setting.gateway.process.wait(STOP_SECONDS)  # no second signal: one must be enough
    except subprocess.TimeoutExpired:
        raise WrongError(f"expected the gateway to end on SIGTERM:\n    seen     it runs after {STOP_SECONDS:g} s") from None
    equal("exit status of the gateway", 0, status)
    lines = setting.gateway.access_log.read_text().splitlines()
    equal("lines of the access log", setting.tally.sent, len(lines))
    logged = f"{number(len(lines))} requests, as many lines of access log"
    return f"SIGTERM during a stream: it still gets its last answer, then exit 0; {logged}"
