"""The running process, from start to stop, in this one's event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.auth.settings import KeySourceError
from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError
from gateway.serve import Gateway
from gateway.telemetry.metrics import Metrics

POLICY = """version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""


def made(folder: Path, listen: str = "", auth: str = "{anonymous: true, api_keys: null}", policy: str = POLICY) -> Gateway:
    """A gateway that has not started."""
    (folder / "policy.yaml").write_text(policy)
    ports = {"http": 0, "grpc": 0, "admin": 0}
    listening = ", ".join(f"{name}: {listen if name == 'http' and listen else '127.0.0.1:0'}" for name in ports)
    text = f"listen: {{{listening}}}\nauth: {auth}\ntelemetry: {{access_log: 'off'}}\ndrain: {{idle: 0s, grace: 1s}}\n"
    return Gateway(load_gateway(text.encode(), "gateway.yaml"), folder / "policy.yaml", Metrics())


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that runs."""
    gateway = made(tmp_path)
    await gateway.start()
    yield gateway
    await gateway.stop()


async def test_three_ports_are_open(gateway: Gateway) -> None:
    """Clients' two and the operators' one; all of them know that it is ready."""
    ports = gateway.ports
    assert 3 == len({ports.http.port, ports.grpc.port, ports.admin.port} - {0})
    async with aiohttp.ClientSession() as client:
        for port, path in ((ports.http.port, "/v2/health/ready"), (ports.admin.port, "/readyz"), (ports.admin.port, "/healthz")):
            assert 200 == (await client.get(f"http://127.0.0.1:{port}{path}")).status
    assert (True, []) == (gateway.ready(), gateway.unready())


async def test_a_stopped_gateway_leaves_nothing(tmp_path: Path) -> None:
    """Not ready, ports closed, no background task."""
    before = asyncio.all_tasks()
    gateway = made(tmp_path)
    await gateway.start()
    assert asyncio.all_tasks() - before
    await gateway.stop()
    assert (False, ["draining"], 0) == (gateway.ready(), gateway.unready(), len(gateway.spawner))
    assert set() == {task for task in asyncio.all_tasks() - before if not task.done()}
    for port in (gateway.ports.http.port, gateway.ports.grpc.port, gateway.ports.admin.port):
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_reload_takes_policy_and_keys(tmp_path: Path) -> None:
    """Both files are read again, and each is refused without the other."""
    keys = tmp_path / "keys.yaml"
    keys.write_text("[]")
    gateway = made(tmp_path, auth=f"{{api_keys: {keys}}}")
    await gateway.start()
    first = gateway.plane.snapshot.version
    (tmp_path / "policy.yaml").write_text(POLICY + "# changed\n")
    keys.write_text("not a list")
    await gateway.reload()
    assert first != (second := gateway.plane.snapshot.version)
    (tmp_path / "policy.yaml").write_text("broken")
    keys.write_text("[]")
    await gateway.reload()
    assert second == gateway.plane.snapshot.version
    await gateway.stop()


async def test_in_flight_is_told_of_the_clusters_in_force(gateway: Gateway) -> None:
    """Scraped when asked, of whichever snapshot there is."""
    gateway.plane.snapshot.clusters["b"].places.in_flight = 3
    assert b'penstock_in_flight{backend="b"} 3' in gateway.metrics.exposition()
    gateway.plane.snapshot.clusters["b"].places.in_flight = 0


async def test_a_held_loop_shows_in_the_metrics(gateway: Gateway) -> None:
    """The probe runs as long as the gateway does."""

    def seen() -> int:
        lines = gateway.metrics.exposition().decode().splitlines()
        found = {
            line.split()[0].removeprefix("penstock_loop_stall_seconds_"): line.split()[1]
            for line in lines
            if "loop_stall" in line
        }
        return int(found["count"]) - int(found['bucket{le="0.05"}'])

    before = seen()
    time.sleep(0.15)  # noqa: ASYNC251 - the very thing
    async with asyncio.timeout(5):
        while before == seen():  # noqa: ASYNC110 - nobody is told of a tick
            await asyncio.sleep(0.001)


async def test_what_keeps_it_from_starting(tmp_path: Path) -> None:
    """A port in use, a key file that is none, a policy that cannot be used: each by its own exception."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gateway = made(tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use"):
            await gateway.start()
        await gateway.spawner.close()
    gateway = made(tmp_path, auth="{api_keys: none.yaml}")
    with pytest.raises(KeySourceError, match=r"none\.yaml"):
        await gateway.start()
    with pytest.raises(PolicyError):
        made(tmp_path, policy="version: 2")
