"""Two versions of a model at a real Triton, one of them a shadow, before two workers: the same is the same, the other found."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from layout import Layout

from tests.real_parts import GatewayProcess, Triton, get, policy, start_gateway, until

QUESTIONS = 30
SHADOW = {"of": "accurate", "route": "enterprise", "fraction": "100%", "max_in_flight": 100, "queue": 100}
COMPARE = {"probabilities": {"atol": 0.00001}, "label": "exact"}


@pytest.fixture(scope="module", params=["triton-http", "triton-grpc"])
def gateway(triton: Triton, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Two workers, and two shadows of digits_accurate version 1: itself again, and version 2."""
    document = policy(triton, request.param)
    digits = document["models"]["digits"]
    accurate = {**digits["variants"]["accurate"], "pure": True}
    digits["variants"] |= {"accurate": accurate, "twin": accurate, "next": {**accurate, "version": "2", "cost": 80}}
    digits["shadows"] = [{**SHADOW, "name": to, "to": to, "compare": COMPARE} for to in ("twin", "next")]
    made = start_gateway(tmp_path_factory.mktemp("shadow"), document, settings={"workers": 2})
    yield made
    assert 0 == made.stop()
    assert "Traceback" not in made.log()


def report(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    """What operators are told of the shadow."""
    status, body = get(gateway.admin, f"/api/shadows/digits/{name}", gateway.bearer(scope="models:admin", sub="ops"))
    assert 200 == status, body
    found: dict[str, Any] = json.loads(body)
    return found


def asked(gateway: GatewayProcess, image: list[float]) -> dict[str, Any]:
    """The answer to one question, over a connection of its own, so that either worker may have it."""
    question = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": image}]}
    connection = http.client.HTTPConnection(gateway.http, timeout=10)
    headers = gateway.bearer(tier="enterprise", tenant="acme")
    connection.request("POST", "/v2/models/digits/infer", json.dumps(question), headers)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_what_is_found(gateway: GatewayProcess) -> None:
    """A twin differs in nothing; the next version does, by which outputs and for whom is told; nobody's answer is another."""
    images = np.load(Layout().held_out)["images"][:QUESTIONS]
    for image in images:
        assert "1" == asked(gateway, image.ravel().tolist())["model_version"]
    until(lambda: all(QUESTIONS == report(gateway, name)["questions"] for name in ("twin", "next")))
    twin, other = report(gateway, "twin"), report(gateway, "next")
    assert {0.0} == {each["raw"]["value"] + each["noise"]["value"] for each in twin["fields"]}
    assert ("not enough", ["1", "1"], ["1", "2"]) == (twin["verdict"], twin["versions"], other["versions"])
    assert ("different", "probabilities") == (other["verdict"], other["fields"][0]["field"])
    assert QUESTIONS == other["slices"]["tenant=acme"]["compared"]
    assert "a row costs 80, not 40" in other["promotion"]
    assert QUESTIONS == gateway.metric("penstock_shadow_total", shadow="digits/next", outcome="compared")
    assert 40 * QUESTIONS == gateway.metric("penstock_cost_total")
    assert 40 * QUESTIONS == other["compared"][-1]["primary"]
