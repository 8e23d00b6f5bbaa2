"""Equal questions at two gateways that share a Redis: one asks for both, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.features.conftest import run, until
from tests.features.oip_server import Received, Server, Waiting, answered, failing, written
from tests.real_parts import Redis

if TYPE_CHECKING:
    from tests.features.conftest import Reply, Running

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 30s
    cache: {ttl: 10m, rows: ROWS}
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}, sure: {backend: triton, model: digits_accurate, cost: 40}}
    routes:
      - name: default
        cascade: {confidence: {output: probabilities, metric: max-softmax}, stages: [{use: fast, accept: 0.9}, {use: sure}]}
  echo:
    timeout: 30s
    cache: {ttl: 10m}
    variants: {echo: {backend: triton, model: echo, version: "1", cost: 3}}
    routes: [{name: default, use: echo}]
"""


@dataclass
class Pair:
    """Two gateways, the one backend behind them, and what it does with questions to `echo`."""

    gates: list[Running]
    server: Server
    waiting: Waiting

    def ask(self, gate: int, rows: list[int], **headers: str) -> asyncio.Task[Reply]:
        """A question to `digits` on its way."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.ensure_future(self.gates[gate].infer(rows, named))

    async def waits(self, asking: asyncio.Task[Reply]) -> asyncio.Task[Reply]:
        """The same, once the second gateway has looked whether another asks; the first has the lease."""
        store = self.gates[1].gateway._store
        assert store is not None
        leases = store.leases
        assert leases is not None
        before = leases._count
        await until(lambda: leases._count > before)
        return asking

    @property
    def asked(self) -> list[tuple[str, list[int]]]:
        return [(each.model, each.rows) for each in self.server.asked]


async def _pair(folder: Path, redis: Redis, rows: bool) -> AsyncIterator[Pair]:
    server = Server()
    await server.start()
    policy = POLICY.replace("PORT", str(server.port)).replace("ROWS", str(rows).lower())
    gates = []
    for name in ("a", "b"):
        (folder / name).mkdir()
        gates.append(await run(folder / name, policy, store=redis.url))
    for gate in gates:
        store = gate.gateway._store
        assert store is not None
        assert store.leases is not None
        await until(lambda store=store: store.up)  # type: ignore[misc]
        store.leases._hold = store.leases._landed = 60_000  # ms: a machine that stands still ends no lease here
        await gate.learned()
    server.received.clear()
    waiting = server.scripts["digits_fast"] = Waiting()
    yield Pair(gates, server, waiting)
    for gate in gates:
        assert gate.gateway._store is not None
        assert gate.gateway._store.leases is not None
        assert 0 == gate.gateway._store.leases.held
        await gate.stop()
    await server.close()


@pytest.fixture(params=[False, True], ids=["whole", "rows"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, redis: Redis) -> AsyncIterator[Pair]:
    """With a cache of whole answers, and one by rows."""
    async for made in _pair(tmp_path, redis, request.param):
        yield made


@pytest.fixture
async def by_rows(tmp_path: Path, redis: Redis) -> AsyncIterator[Pair]:
    """With a cache by rows."""
    async for made in _pair(tmp_path, redis, True):
        yield made


async def test_one_asks_for_both(pair: Pair) -> None:
    """Those at the other gateway have the same answer; it cost them nothing, and says that somebody else had asked."""
    first = pair.ask(0, [1, 2])
    await pair.waiting.entered.wait()
    second = await pair.waits(pair.ask(1, [1, 2]))
    pair.waiting.go.set()
    asker, other = await first, await second
    assert [("digits_fast", [1, 2])] == pair.asked
    assert asker.json["outputs"] == other.json["outputs"]
    assert ("penstock; fwd=miss; collapsed", "0") == (other.headers["cache-status"], other.headers["x-penstock-cost"])
    assert "hit" in (await pair.ask(1, [1, 2])).headers["cache-status"]


async def test_rows_that_another_gateway_asks_about(by_rows: Pair) -> None:
    """Whatever is missing here and the same there; each row keeps the variant that answered it."""
    pair = by_rows
    pair.server.confidence = {"digits_fast": {2: 0.5}}
    del pair.server.scripts["digits_fast"]
    await pair.ask(1, [7])
    waiting = pair.server.scripts["digits_accurate"] = Waiting()
    first = pair.ask(0, [1, 2])
    await waiting.entered.wait()
    second = await pair.waits(pair.ask(1, [7, 1, 2]))
    waiting.go.set()
    whole, part = await first, await second
    assert [("digits_fast", [7]), ("digits_fast", [1, 2]), ("digits_accurate", [2])] == pair.asked
    assert ([101, 302], [107, 101, 302]) == (whole.output("label"), part.output("label"))
    assert 'penstock; fwd=partial; collapsed; detail="1 of 3 rows"' == part.headers["cache-status"]
    assert ("fast=2,sure=1", "0") == (part.headers["x-penstock-variant"], part.headers["x-penstock-cost"])


async def test_an_error_is_not_waited_for_twice(pair: Pair) -> None:
    """The other gateway asks for itself when the first has failed, and nobody after it waits for anybody."""

    async def script(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if pair.server.asked[0] is asked:
            await pair.waiting.go.wait()
            await failing(500)(asked, reader, writer)
        else:
            writer.write(written(200, *answered(asked, {})))

    pair.server.scripts["digits_fast"] = script
    first = pair.ask(0, [1])
    await until(lambda: len(pair.server.asked) == 1)
    second = [await pair.waits(pair.ask(1, [1])), pair.ask(1, [1])]
    pair.waiting.go.set()
    assert 502 == (await first).status
    assert {200} == {each.status for each in await asyncio.gather(*second)}
    assert 2 == len(pair.asked)


async def test_a_client_that_leaves_leaves_the_question_to_the_others(pair: Pair) -> None:
    """The first gateway has nobody any more who wants the answer; the second asks then."""
    first = pair.ask(0, [1])
    await pair.waiting.entered.wait()
    second = await pair.waits(pair.ask(1, [1]))
    again = pair.server.scripts["digits_fast"] = Waiting()
    again.go.set()
    first.cancel()
    assert 200 == (await second).status
    await pair.waiting.left.wait()
    assert 2 == len(pair.asked)


async def test_waiting_for_another_gateway_ends_at_the_deadline(pair: Pair) -> None:
    """504, and the backend was not asked."""
    first = pair.ask(0, [1])
    await pair.waiting.entered.wait()
    late = await pair.ask(1, [1], x_request_timeout_ms="100")
    assert (504, "deadline") == late.error
    pair.waiting.go.set()
    assert 200 == (await first).status
    assert 1 == len(pair.asked)


async def test_a_large_answer_is_there_before_its_lease_ends(pair: Pair) -> None:
    """It is packed by a thread; whoever waits finds it all the same."""
    waiting = pair.server.scripts["echo"] = Waiting()
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [50_000], "data": np.arange(50_000).tolist()}]}
    ).encode()

    def ask(gate: Running) -> asyncio.Task[Reply]:
        return asyncio.ensure_future(gate.ask("POST", "/v2/models/echo/infer", body))

    first = ask(pair.gates[0])
    await waiting.entered.wait()
    second = await pair.waits(ask(pair.gates[1]))
    waiting.go.set()
    assert (await first).json["outputs"] == (await second).json["outputs"]
    assert 1 == len(pair.server.asked)
    assert "collapsed" in (await second).headers["cache-status"]


async def test_no_cache_waits_for_nobody(pair: Pair) -> None:
    """Who wants no kept answer does not want another's either."""
    first = pair.ask(0, [1])
    await pair.waiting.entered.wait()
    del pair.server.scripts["digits_fast"]
    assert 200 == (await pair.ask(1, [1], Cache_Control="no-cache")).status
    assert 2 == len(pair.asked)
    pair.waiting.go.set()
    await first
