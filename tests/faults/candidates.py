"""Two servers under one model, one of them a candidate that a rollout asks: what tests with real processes need of that."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.features.conftest import framed, image
from tests.real_parts import ROOT, GatewayProcess, until

RATE = 500  # a second
CLIENTS = 10
WARM = 3  # questions that the warm-up of one process asks


def workers(gate: GatewayProcess) -> set[int]:
    """The processes that serve for it."""
    parent = gate.process.pid
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


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


STEPS = [{"weight": "5%", "hold": "24h"}]


def policy(live: int, candidate: int, *, alpha: str = "1%", steps: Sequence[Mapping[str, Any]] = STEPS) -> dict[str, Any]:
    """A candidate at 5 %, on a server of its own. `alpha`: how often one that changes nothing is taken back all the same."""
    backends = {
        name: {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{port}"]}
        for name, port in (("live", live), ("next", candidate))
    }
    variants = {name: {"backend": name, "model": "digits_fast", "cost": 1} for name in backends}
    guards = [{"metric": "error-rate", "max_increase": "0.1%"}, {"metric": "timeout-rate"}, {"metric": "latency-p99"}]
    rollout = {"candidate": "next", "proof": "time", "steps": steps, "guards": guards, "alpha": alpha}
    routes = [{"name": "default", "use": "live"}]
    digits = {"timeout": "5s", "variants": variants, "routes": routes, "rollouts": {"live": rollout}}
    return {"version": 1, "backends": backends, "models": {"digits": digits}}


def api(gate: GatewayProcess, method: str, path: str = "") -> dict[str, Any]:
    """What the admin API says of the rollout, or does to it."""
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
