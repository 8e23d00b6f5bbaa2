"""A/B tests of real processes: whichever worker answers and whichever is told, all is joined."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.experiment.experiments import FILE, Kept
from tests.faults.candidates import api, policy, server
from tests.features.conftest import image
from tests.real_parts import GatewayProcess, start_gateway, until

pytestmark = pytest.mark.slow

REQUESTS = 40


def document_of(*ports: int) -> dict[str, Any]:
    document = policy(*ports, alpha="5%", steps=[{"weight": "50%", "samples": 20}])
    rollout = document["models"]["digits"]["rollouts"]["live"]
    rollout |= {"proof": "person", "feedback": [{"metric": "bought"}], "guards": [{"metric": "error-rate"}]}
    return document


def post(gate: GatewayProcess, path: str, body: object, scope: str) -> http.client.HTTPResponse:
    """Over a connection of its own: any worker may have it."""
    host, _, port = gate.http.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("POST", path, json.dumps(body).encode(), gate.bearer(scope=scope))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert 200 == answer.status
    return answer


def shown(gate: GatewayProcess) -> dict[str, Any]:
    host, _, port = gate.admin.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/api/experiments/digits/live", headers=gate.bearer(scope="models:admin"))
    content: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return content


def test_two_workers(tmp_path: Path) -> None:
    """Every request is joined to its side, though another worker was told; an orderly end writes all of it down."""
    with ExitStack() as stack:
        document = document_of(*(stack.enter_context(server(-1)) for _ in range(2)))
        settings = {"state": str(tmp_path / "state"), "workers": 2}
        gate = start_gateway(tmp_path, document, settings=settings)
        stack.callback(gate.stop)
        api(gate, "POST", "/start")
        until(lambda: "running" == api(gate, "GET")["state"], 10)
        bought = [0, 0]
        for index in range(REQUESTS):
            answer = post(gate, "/v2/models/digits/infer", {"inputs": [image([index])]}, "models:infer")
            mine = answer.headers["x-penstock-variant"] == "next"
            if mine or index % 3 == 0:
                bought[mine] += 1
                told = {"request": answer.headers["x-request-id"], "metric": "bought"}
                post(gate, "/v2/feedback", told, "models:feedback")
        until(lambda: sum(bought) == gate.metric("penstock_feedback_total", outcome="joined"), 10)
        found = shown(gate)
        (metric,) = found["metrics"]
        assert REQUESTS == sum(found["drawn"])
        assert bought == [round(mean * number) for mean, number in zip(metric["means"], metric["of"], strict=True)]
        gate.stop()
        kept = msgspec.msgpack.decode((tmp_path / "state" / FILE).read_bytes(), type=Kept)
        assert found["drawn"] == list(kept.counted["digits/live"].drawn)
