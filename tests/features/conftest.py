"""What the features' tests share: a real gateway on free ports, and a client that sends exactly the bytes it is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import service_pb2_grpc

from gateway.auth.api_keys import entry_of, new_key
from gateway.auth.principals import principal_of
from gateway.cli.keys import as_yaml
from gateway.configuration.load import load_gateway
from gateway.serve import Gateway
from gateway.telemetry.metrics import Metrics
from tests.features.oip_server import Server

# name → tenant, tier, scopes
CALLERS = {
    "free": ("acme", "free", ("models:infer",)),
    "enterprise": ("bigco", "enterprise", ("models:infer",)),
    "digits-only": ("small", "free", ("models:infer:digits",)),
    "urgent": ("acme", "free", ("models:infer", "models:priority")),
    "admin": ("ops", "", ("models:admin",)),
    "shop": ("acme", "", ("models:feedback",)),
    "other-shop": ("bigco", "", ("models:feedback",)),
}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Reply:
    """One answer as it came: `headers` with lower-case names, in UTF-8."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; of a binary answer its head."""
        return json.loads(self.body[: int(self.headers.get("inference-header-content-length", len(self.body)))])

    def output(self, name: str) -> list[Any]:
        """The named output of a JSON answer."""
        found: list[Any] = next(each["data"] for each in self.json["outputs"] if each["name"] == name)
        return found

    @property
    def error(self) -> tuple[int, str]:
        """Status and reason of an error, whose body is checked to be the protocol's."""
        assert ["error"] == list(self.json)
        assert self.json["error"]
        assert "application/json" == self.headers["content-type"]
        return self.status, self.headers["x-penstock-error"]


async def ask(port: int, request: Sequence[bytes], head_only: bool = False) -> Reply:
    """Sends the bytes over a connection of their own and reads one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.writelines(request)
        async with asyncio.timeout(10):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            length = 0 if head_only else int(headers["content-length"])
            return Reply(int(lines[0].split()[1]), headers, await reader.readexactly(length))
    finally:
        writer.close()


def framed(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> list[bytes]:
    """A request's bytes; the length is what the body has unless the headers say another."""
    sent = {"Host": "gateway", **({"Content-Length": str(len(body))} if body else {}), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return [f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode(), body]


def image(rows: Sequence[int]) -> dict[str, Any]:
    """The digits models' input in JSON: a row's first value is its number, which the server's answer tells again."""
    data = [[float(row), 0.0, 0.0, 0.0] for row in rows]
    return {"name": "image", "datatype": "FP32", "shape": [len(rows), 4], "data": data}


def packed(rows: Sequence[int], **more: Any) -> tuple[bytes, dict[str, str]]:
    """The same in binary: the body, and the header that says where its JSON ends."""
    data = np.zeros((len(rows), 4), "<f4")
    data[:, 0] = rows
    entry = {"name": "image", "datatype": "FP32", "shape": [len(rows), 4], "parameters": {"binary_data_size": data.nbytes}}
    head = json.dumps({"inputs": [entry], **more}).encode()
    return head + data.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


async def until(condition: Callable[[], bool]) -> None:
    """Lets everybody else go on until the condition holds, for five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.001)


@dataclass
class Running:
    """A gateway that runs, with the server behind it."""

    gateway: Gateway
    backend: Server
    policy: Path
    keys: Mapping[str, str]
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def credential(self, caller: str) -> dict[str, str]:
        """The header that says who asks; "" for nobody."""
        return {"X-API-Key": self.keys[caller]} if caller else {}

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, caller: str = "free"
    ) -> Reply:
        """One request to the port for inference over HTTP."""
        request = framed(method, path, {**self.credential(caller), **(headers or {})}, body)
        return await ask(self.gateway.ports.http.port, request, method == "HEAD")

    async def infer(
        self, rows: Sequence[int] = (0,), headers: Mapping[str, str] | None = None, caller: str = "free", **more: Any
    ) -> Reply:
        """Asks the model `digits` about these rows, in JSON; `more` are further fields of the request."""
        body = json.dumps({"inputs": [image(rows)], **more}).encode()
        return await self.ask("POST", "/v2/models/digits/infer", body, headers, caller)

    async def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Every sample by name and label values, in the labels' own order."""
        reply = await ask(self.gateway.ports.admin.port, framed("GET", "/metrics", {}))
        families = text_string_to_metric_families(reply.body.decode())
        return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}

    async def learned(self) -> None:
        """Returns when the gateway knows what the server's models take."""
        await self.gateway._signatures.look(self.gateway.plane.snapshot)

    async def reload(self, policy: str) -> None:
        """What SIGHUP does, with this policy in the file."""
        self.policy.write_text(policy.replace("PORT", str(self.backend.port)))
        await self.gateway.reload()

    def stub(self) -> Any:
        """The service over gRPC."""
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.gateway.ports.grpc.port}")
        self.channels.append(channel)
        return service_pb2_grpc.GRPCInferenceServiceStub(channel)

    async def stop(self) -> None:
        """Ends everything, the server behind it last. Raises TimeoutError if the gateway leaves a connection to it open."""
        for channel in self.channels:
            await channel.close()
        await self.gateway.stop()
        await until(lambda: not self.backend.connections)
        await self.backend.close()


async def run(folder: Path, policy: str, auth: str = "", **settings: str) -> Running:
    """Starts a server and a gateway of this policy, in whose text PORT is the server's port; `auth` goes beside its API keys."""
    backend = Server()
    await backend.start()
    keys, entries = {}, []
    for name, (tenant, tier, scopes) in CALLERS.items():
        keys[name] = new_key()
        entries.append(as_yaml(entry_of(keys[name], principal_of(name, tenant, tier, scopes), None)))
    keys["expired"] = new_key()
    entries.append(as_yaml(entry_of(keys["expired"], principal_of("late", "", "", ["models:infer"]), LONG_AGO)))
    (folder / "keys.yaml").write_text("".join(entries))
    (folder / "keys.yaml").chmod(0o600)
    policy_file = folder / "policy.yaml"
    policy_file.write_text(policy.replace("PORT", str(backend.port)))
    text = {
        "listen": "{http: 127.0.0.1:0, grpc: 127.0.0.1:0, admin: 127.0.0.1:0}",
        "auth": f"{{api_keys: {folder / 'keys.yaml'}, {auth}}}",
        "telemetry": "{access_log: 'off'}",
        "drain": "{idle: 0s, grace: 2s}",
        **settings,
    }
    document = load_gateway("".join(f"{name}: {value}\n" for name, value in text.items()).encode(), "gateway.yaml")
    try:
        gateway = Gateway(document, policy_file, Metrics())
        await gateway.start()
    except BaseException:
        await backend.close()
        raise
    return Running(gateway, backend, policy_file, keys)


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts gateways, and stops them with the test."""
    running: list[Running] = []

    async def begin(policy: str, **settings: str) -> Running:
        running.append(await run(tmp_path, policy, **settings))
        return running[-1]

    yield begin
    for each in running:
        await each.stop()


@pytest.fixture
async def digits(start: Start) -> Running:
    """A gateway with the plainest policy: one model, one variant, one route."""
    return await start(PLAIN)


PLAIN = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}}
    routes: [{name: default, use: fast}]
"""
