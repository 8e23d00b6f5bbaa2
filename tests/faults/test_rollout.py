"""Rollouts of real processes: a bad candidate harms few, one that changes nothing stays, and a kill forgets nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.figures import LONG, Figures
from tests.features.conftest import framed, image
from tests.real_parts import ROOT, GatewayProcess, start_gateway, until

pytestmark = pytest.mark.slow

REQUESTS = 20_000 if LONG else 2_000
RATE = 500  # a second
CLIENTS = 10
WARM = 3  # questions that the warm-up of one process asks


@contextmanager
def server(good: int) -> Iterator[int]:
    """The port of a server in a process of its own, which fails after so many answers; of -1 never."""
    command = [sys.executable, "-m", "tests.faults.bad_server", str(good)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def policy(live: int, candidate: int, *, alpha: str = "1%") -> dict[str, Any]:
    """A candidate at 5 %, on a server of its own. `alpha`: how often one that changes nothing is taken back all the same."""
    backends = {
        name: {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{port}"]}
        for name, port in (("live", live), ("next", candidate))
    }
    variants = {name: {"backend": name, "model": "digits_fast", "cost": 1} for name in backends}
    guards = [{"metric": "error-rate", "max_increase": "0.1%"}, {"metric": "timeout-rate"}, {"metric": "latency-p99"}]
    rollout = {"candidate": "next", "proof": "time", "steps": [{"weight": "5%", "hold": "24h"}], "guards": guards, "alpha": alpha}
    routes = [{"name": "default", "use": "live"}]
    digits = {"timeout": "5s", "variants": variants, "routes": routes, "rollouts": {"live": rollout}}
    return {"version": 1, "backends": backends, "models": {"digits": digits}}


def api(gate: GatewayProcess, method: str, path: str) -> dict[str, Any]:
    host, _, port = gate.admin.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request(method, f"/api/rollouts/digits/live{path}", headers=gate.bearer(scope="models:admin"))
    answer = connection.getresponse()
    content: dict[str, Any] = json.loads(answer.read())
    connection.close()
    assert 200 == answer.status, content
    return content


def start(gate: GatewayProcess) -> None:
    """Returns when the candidate has weight."""
    api(gate, "POST", "/start")
    until(lambda: "warming" != api(gate, "GET", "")["state"], 10)
    assert 0.05 == api(gate, "GET", "")["weight"], api(gate, "GET", "")


async def asked(gate: GatewayProcess, count: int) -> list[tuple[float, bool]]:
    """When each of so many requests ended, and whether well, in the order of their ends."""
    request = b"".join(framed("POST", "/v2/models/digits/infer", gate.credential, json.dumps({"inputs": [image([7])]}).encode()))
    host, _, port = gate.http.partition(":")
    found: list[tuple[float, bool]] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(count // CLIENTS):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            found.append((time.time(), head.startswith(b"http/1.1 200 ")))
            await asyncio.sleep(CLIENTS / RATE)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return sorted(found)


@pytest.mark.timed
@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_candidate(tmp_path: Path, workers: int, figures: Figures) -> None:
    """At most one request in a hundred is harmed, and the candidate has no weight soon after the evidence suffices."""
    with ExitStack() as stack:
        ports = [stack.enter_context(server(good)) for good in (-1, WARM * workers)]
        gate = start_gateway(tmp_path, policy(*ports), settings={"workers": workers, "state": str(tmp_path / "state")})
        stack.callback(gate.stop)
        start(gate)
        found = asyncio.run(asked(gate, REQUESTS))
        stands = api(gate, "GET", "")
        assert ("rolled-back", 0.0) == (stands["state"], stands["weight"])
        assert 0.0 == gate.metric("penstock_rollout_weight")
        assert 1 == gate.metric("penstock_rollout_verdicts_total", verdict="harmful")
        harmed = [moment for moment, well in found if not well]
        name = f"Rollout, {workers} worker{'s' * (workers > 1)}"
        figures.at_most(name, "requests harmed by a candidate at 5 % that fails always", 100 * len(harmed) / REQUESTS, 1, " %")
        enough = harmed[min(len(harmed), 10) - 1]  # more than what the evidence needs
        figures.within(
            name, "from the tenth failure to no weight", max(harmed[-1] - enough, stands["notes"][-1]["at"] - enough), 5
        )


def test_the_same_candidate_and_a_kill(tmp_path: Path) -> None:
    """A candidate that changes nothing is not taken back; killed outright and started again, the gateway goes on where it was."""
    with ExitStack() as stack:
        ports = [stack.enter_context(server(-1)) for _ in range(2)]
        settings = {"state": str(tmp_path / "state")}
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        gate = start_gateway(tmp_path / "one", policy(*ports, alpha="0.001%"), settings=settings)
        stack.callback(gate.stop)
        start(gate)
        assert all(well for _, well in asyncio.run(asked(gate, REQUESTS // 3)))
        drawn = gate.metric("penstock_requests_total", variant="next")
        assert drawn
        until(lambda: drawn == api(gate, "GET", "")["samples"], 10)
        before = api(gate, "GET", "")
        assert before["state"] in ("running", "frozen")
        until(lambda: _stored(tmp_path / "state", drawn), 10)
        gate.process.kill()
        gate.process.wait()
        again = start_gateway(tmp_path / "two", policy(*ports, alpha="0.001%"), settings=settings)
        stack.callback(again.stop)
        after = api(again, "GET", "")
        assert [before[key] for key in ("weight", "attempt", "samples", "notes")] == [
            after[key] for key in ("weight", "attempt", "samples", "notes")
        ]
        assert all(well for _, well in asyncio.run(asked(again, REQUESTS // 6)))
        assert again.metric("penstock_requests_total", variant="next")


def _stored(state: Path, samples: float) -> bool:
    from gateway.rollout.file import load

    return any(samples == each.rollout.samples for each in load(state))
