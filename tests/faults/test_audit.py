"""Audits of real processes: a dearest stage in trouble changes nothing for clients; a fast model that turns wrong is found."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.candidates import workers
from tests.faults.figures import LONG, Figures, percentile
from tests.faults.test_shadow import CANDIDATES, TAKES, server, times
from tests.features.conftest import image
from tests.features.oip_server import Server
from tests.real_parts import GatewayProcess, free_ports, start_gateway, until

pytestmark = pytest.mark.slow

REQUESTS = 24_000 if LONG else 360  # half of them to a gateway without audits, half to one with them, by turns
AUDIT = {"share": "20%", "timeout": "1s", "max_in_flight": 4, "queue": 8}


def model(live: str, dear: str, audit: Mapping[str, Any] | None, names: tuple[str, str] = ("digits_fast", "digits_fast")) -> Any:
    """A cascade of these backends' models whose first stage keeps what it is 10 % sure of."""
    cascade = {
        "confidence": {"output": "probabilities", "metric": "max-softmax"},
        "stages": [{"use": "live", "accept": 0.1}, {"use": "dear"}],
        **({"audit": audit} if audit else {}),
    }
    return {
        "timeout": "5s",
        "variants": {
            "live": {"backend": live, "model": names[0], "cost": 1},
            "dear": {"backend": dear, "model": names[1], "cost": 40, "pure": True},
        },
        "routes": [{"name": "default", "cascade": cascade}],
    }


def policy(ports: Mapping[str, int], models: Mapping[str, Any]) -> dict[str, Any]:
    backends = {name: {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{port}"]} for name, port in ports.items()}
    return {"version": 1, "backends": backends, "models": dict(models)}


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, GatewayProcess]]:
    """One gateway without audits and one with them, processes of their own, before the same server."""
    with ExitStack() as stack:
        ports = {"live": stack.enter_context(server([str(TAKES)]))}
        for kind, told in CANDIDATES.items():
            ports[kind] = free_ports(1)[0] if told is None else stack.enter_context(server(told))
        made = {}
        for name, audit in (("plain", None), ("audited", AUDIT)):
            document = policy(ports, {kind: model("live", kind, audit) for kind in CANDIDATES})
            made[name] = start_gateway(tmp_path_factory.mktemp(name), document)
            stack.callback(made[name].stop)
        yield made


@pytest.mark.parametrize("kind", CANDIDATES)
async def test_clients_do_not_notice(gates: Mapping[str, GatewayProcess], kind: str, figures: Figures) -> None:
    """No request fails, none costs more, and the tail is what it is without audits: measured by turns, as machines change."""
    await times(gates, kind, 24)  # until everything is connected
    seen, failed = await times(gates, kind, REQUESTS)
    drawn = gates["audited"].metric("penstock_audit_total", model=kind)
    figures.none_of(f"Audit, {kind} dearest stage", "requests that failed, or were billed for it", failed, REQUESTS)
    figures.at_least(f"Audit, {kind} dearest stage", "requests drawn and done with, of each 100", 200 * drawn / REQUESTS, 2, " %")
    if LONG:
        usual, beside = (percentile(seen[name], 0.99) for name in ("plain", "audited"))
        what = f"p99 beside {1000 * usual:.1f} ms without it"
        figures.at_most(f"Audit, {kind} dearest stage", what, beside / usual, 1.02, " ×")


@contextmanager
def backend() -> Iterator[Server]:
    """A server that answers from a thread of this process, so that a test can make its models worse."""
    made, loop = Server(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(made.start(), loop).result()
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def said(address: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[Any, Mapping[str, str]]:
    """The answer of one request over a connection of its own."""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    assert 200 == answer.status, content
    return content, {name.lower(): value for name, value in answer.getheaders()}


def variant(gate: GatewayProcess) -> str:
    """Who answers a request now."""
    body = json.dumps({"inputs": [image([3])]}).encode()
    return said(gate.http, "POST", "/v2/models/digits/infer", gate.credential, body)[1]["x-penstock-variant"]


def audit(gate: GatewayProcess) -> Any:
    """How it stands."""
    return said(gate.admin, "GET", "/api/audits/digits/default", gate.bearer(scope="models:admin"))[0]


def test_a_fast_model_that_turns_wrong(tmp_path: Path, figures: Figures) -> None:
    """With two workers: it is found, the dearest answers alone in both, kills forget nothing, and a person ends it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    settings = {"workers": 2, "state": str(tmp_path / "state")}
    with ExitStack() as stack:
        server = stack.enter_context(backend())
        watched = {"share": "100%", "on_alarm": "dear"}
        digits = model("triton", "triton", watched, ("digits_fast", "digits_accurate"))
        document = policy({"triton": server.port}, {"digits": digits})
        gate = start_gateway(tmp_path / "one", document, settings=settings)
        stack.callback(gate.stop)
        needed = turned(gate, server)
        figures.at_most("Audit, two workers", "requests until a model that is always wrong is found", needed, 60, "")
        a_worker_is_killed(gate)
        stands = audit(gate)
        gate.process.kill()
        gate.process.wait()
        again = start_gateway(tmp_path / "two", document, settings=settings)
        stack.callback(again.stop)
        assert {"dear"} == {variant(again) for _ in range(20)}
        after = audit(again)
        assert [stands[key] for key in ("alarm", "requests", "different")] == [
            after[key] for key in ("alarm", "requests", "different")
        ]
        said(again.admin, "POST", "/api/audits/digits/default/resume", again.bearer(scope="models:admin"))
        assert {"live"} == {variant(again) for _ in range(4)}
        lines = tmp_path / "state" / "audit.jsonl"
        until(
            lambda: {"audit alarm", "audit resume"} <= {json.loads(line)["what"] for line in lines.read_text().splitlines()}, 10
        )


def turned(gate: GatewayProcess, server: Server) -> int:
    """Asks the fast model while it is right, and then until it is found to be wrong: how often."""
    assert {"live"} == {variant(gate) for _ in range(60)}
    until(lambda: 60 == audit(gate)["requests"], 10)
    server.confidence["digits_fast"] = {3: 0.0}  # another class now, and still sure enough of it
    needed = 0
    while audit(gate)["state"] == "watching":
        variant(gate)
        needed += 1
    assert {"dear"} == {variant(gate) for _ in range(20)}
    assert 1 == gate.metric("penstock_audit_fallen") == gate.metric("penstock_audit_alarm")
    assert "audit digits/default: alarm: " in gate.log()
    return needed


def a_worker_is_killed(gate: GatewayProcess) -> None:
    """Its successor knows who has fallen."""
    before = workers(gate)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: min(before) not in workers(gate) and 2 == gate.metric("penstock_workers"), 10)
    assert {"dear"} == {variant(gate) for _ in range(20)}
