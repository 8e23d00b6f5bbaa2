"""What a shadow that is dead, hangs or is slow does to those who are answered by somebody else: nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.faults.figures import LONG, Figures, percentile
from tests.features.conftest import framed, image
from tests.real_parts import ROOT, GatewayProcess, free_ports, start_gateway

pytestmark = pytest.mark.slow

REQUESTS = 24_000 if LONG else 360  # half of them to a gateway without a shadow, half to one with it, by turns
CLIENTS = 6
TAKES = 0.02  # seconds that an answer takes
SHADOW = {"name": "dark", "of": "live", "to": "next", "fraction": "20%", "timeout": "1s", "max_in_flight": 4, "queue": 8}
CANDIDATES = {"dead": None, "hung": [], "slow": [str(20 * TAKES)]}  # what its process is told


@contextmanager
def server(arguments: list[str]) -> Iterator[int]:
    """The port of a server in a process of its own, so that its work is not the gateway's."""
    command = [sys.executable, "-m", "tests.faults.dark_server", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def policy(ports: Mapping[str, int], shadows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A model for each kind of candidate, by its name; `live` answers all of them."""
    backends = {name: {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{port}"]} for name, port in ports.items()}
    variant = {"model": "digits_fast", "cost": 1, "pure": True}
    more = {"shadows": list(shadows)} if shadows else {}
    models = {
        kind: {
            "timeout": "5s",
            "variants": {"live": {**variant, "backend": "live"}, "next": {**variant, "backend": kind}},
            "routes": [{"name": "default", "use": "live"}],
            **more,
        }
        for kind in CANDIDATES
    }
    return {"version": 1, "backends": backends, "models": models}


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, GatewayProcess]]:
    """One gateway without a shadow and one with it, processes of their own, before the same server."""
    with ExitStack() as stack:
        ports = {"live": stack.enter_context(server([str(TAKES)]))}
        for kind, told in CANDIDATES.items():
            ports[kind] = free_ports(1)[0] if told is None else stack.enter_context(server(told))
        made = {}
        for name, shadows in (("plain", []), ("dark", [SHADOW])):
            made[name] = start_gateway(tmp_path_factory.mktemp(name), policy(ports, shadows))
            stack.callback(made[name].stop)
        yield made


async def times(gates: Mapping[str, GatewayProcess], kind: str, count: int) -> tuple[dict[str, list[float]], int]:
    """Seconds that so many requests took by gateway, each client asking one after the other; and how many went wrong."""
    body = json.dumps({"inputs": [image([7])]}).encode()
    found: dict[str, list[float]] = {name: [] for name in gates}
    failed = 0

    async def client() -> None:
        nonlocal failed
        lines = {}
        for name, gate in gates.items():
            host, _, port = gate.http.partition(":")
            request = b"".join(framed("POST", f"/v2/models/{kind}/infer", gate.credential, body))
            lines[name] = (*await asyncio.open_connection(host, int(port)), request)
        for _ in range(count // CLIENTS // len(gates)):
            for name, (reader, writer, request) in lines.items():
                began = time.monotonic()
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
                found[name].append(time.monotonic() - began)
                failed += not (head.startswith(b"http/1.1 200 ") and b"x-penstock-cost: 1\r\n" in head)
        for _, writer, _ in lines.values():
            writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return found, failed


@pytest.mark.parametrize("kind", CANDIDATES)
async def test_the_primary_does_not_notice(gates: Mapping[str, GatewayProcess], kind: str, figures: Figures) -> None:
    """No request fails, none costs more, and the tail is what it is without a shadow: measured by turns, as machines change."""
    await times(gates, kind, 60)  # until everything is connected
    seen, failed = await times(gates, kind, REQUESTS)
    drawn = gates["dark"].metric("penstock_shadow_total", shadow=f"{kind}/dark")
    figures.none_of(f"Shadow, {kind}", "requests that failed, or were billed for it", failed, REQUESTS)
    figures.at_least(f"Shadow, {kind}", "questions drawn for it and done with, of each 100", 200 * drawn / REQUESTS, 2, " %")
    if LONG:
        usual, beside = (percentile(seen[name], 0.99) for name in ("plain", "dark"))
        what = f"p99 beside {1000 * usual:.1f} ms without it"
        figures.at_most(f"Shadow, {kind}", what, beside / usual, 1.02, " ×")
