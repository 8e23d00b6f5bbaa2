"""Everything that a gateway has beside its backends is away at once, first hung and then gone: no request fails for it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2

from tests.faults.figures import LONG, Figures
from tests.faults.jwks_server import JwksServer
from tests.faults.sharing import Client, limited, sharing, up
from tests.features.conftest import Running, framed, image
from tests.real_parts import AUDIENCE, ISSUER, Issuer, Redis

pytestmark = pytest.mark.slow

SECONDS = 120.0 if LONG else 2.0  # hung for the first half of them, gone for the second
RATE = 40  # a second, of each client


class Bearers:
    """Clients whose every request has a token that was never seen before."""

    def __init__(self, gate: Running, issuer: Issuer) -> None:
        self._gate = gate
        self._issuer = issuer
        self._numbers = itertools.count()
        self._stub = gate.stub()
        self.told: Counter[str] = Counter()

    def _bearer(self) -> str:
        return f"Bearer {self._issuer.token(sub=f'client-{next(self._numbers)}', tenant='acme')}"

    async def over_http(self, client: Client) -> None:
        """One question."""
        body = json.dumps({"inputs": [image([7])]}).encode()
        client.request = b"".join(framed("POST", "/v2/models/digits/infer", {"Authorization": self._bearer()}, body))
        self.told[str(await client.ask())] += 1

    async def over_grpc(self) -> None:
        """The same over gRPC."""
        request = service_pb2.ModelInferRequest(model_name="digits")
        request.inputs.add(name="image", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 0, 0, 0])
        try:
            await self._stub.ModelInfer(request, timeout=10, metadata=(("authorization", self._bearer()),))
            self.told["200"] += 1
        except grpc.aio.AioRpcError as error:
            self.told[error.code().name] += 1

    async def ask_for(self, seconds: float) -> None:
        """Both, side by side."""
        client = Client(self._gate)
        began = time.monotonic()
        for number in range(round(seconds * RATE)):
            await asyncio.sleep(began + number / RATE - time.monotonic())
            await asyncio.gather(self.over_http(client), self.over_grpc())
        client.close()


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """Whose tokens the clients have."""
    return Issuer(tmp_path)


@pytest.fixture
def keys(issuer: Issuer) -> Iterator[JwksServer]:
    """Where the issuer publishes its keys."""
    server = JwksServer(issuer.jwks)
    server.start()
    yield server
    server.kill()


async def test_all_of_them_away(redis: Redis, keys: JwksServer, issuer: Issuer, tmp_path: Path, figures: Figures) -> None:
    """Redis, the issuer's keys and the policy file: for two minutes nobody notices, and afterwards all is as before."""
    auth = f"jwt: [{{issuer: '{ISSUER}', audience: {AUDIENCE}, jwks: '{keys.url}', algorithms: [EdDSA]}}]"
    policy = limited(1_000_000, 1_000_000)
    async with sharing(tmp_path, policy, redis.url, 1, auth) as gates:
        gate = gates[0]
        await up(gates)
        clients = Bearers(gate, issuer)
        await clients.over_grpc()
        assert {"200": 1} == clients.told
        written, version = gate.policy.read_bytes(), gate.gateway.plane.snapshot.version
        gate.policy.unlink()
        redis.hang()
        keys.pause()
        await clients.ask_for(SECONDS / 2)
        redis.kill()
        keys.kill()
        reloading = asyncio.create_task(gate.gateway.reload())  # somebody sends SIGHUP to help
        await clients.ask_for(SECONDS / 2)
        await reloading
        total = clients.told.total()
        figures.none_of("All away", f"failed requests while everything is, {SECONDS:g} s", total - clients.told["200"], total)
        assert version == gate.gateway.plane.snapshot.version
        redis.start()
        keys.start()
        gate.policy.write_bytes(written.replace(b"timeout: 5s", b"timeout: 4s"))
        figures.within("All away", "store asked again after its return", await up(gates), 1.0)
        async with asyncio.timeout(5):
            while version == gate.gateway.plane.snapshot.version:
                await clients.over_grpc()
        assert {"200"} == set(clients.told)
