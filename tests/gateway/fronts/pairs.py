"""Two gateways that are asked the same, of which one knows nobody again: nothing else may differ between them."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np

from tests.gateway.edge.conftest import Client, Reply
from tests.gateway.fronts.answering import Server, Unknowing, Whole
from tests.gateway.fronts.twins import Held

POLICY = """
version: 1
backends:
  triton:
    protocol: triton-http
    endpoints: [ENDPOINTS]
    balance: round-robin
    retry: {attempts: 2, budget: 100%}
    breaker: {failures: 3, open: 1h}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: fast, cost: 2}, dear: {backend: triton, model: dear, cost: 40}}
    routes: [{name: gold, match: {tier: gold}, use: dear}, {name: default, use: fast}]
"""
DEAR = POLICY.replace("{name: default, use: fast}", "{name: default, use: dear}")
OWN = ("x-request-id", "server-timing", "date", "retry-after")  # headers that each answer has for itself


def question(number: int = 0, rows: int = 2, **fields: str) -> bytes:
    """Some rows in binary, with a head that is the same for the same fields."""
    entry = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": 8 * rows}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    body = head + np.full(2 * rows, number, "<f4").tobytes()
    own = {"Host": "h", "Authorization": "ann", "Inference-Header-Content-Length": str(len(head)), **fields}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in own.items())
    return f"POST /v2/models/digits/infer HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def text(*numbers: float, json_of: str = "", **fields: str) -> bytes:
    """Two rows in JSON; its length is that of its numbers."""
    entry = {"name": "x", "datatype": "FP32", "shape": [len(numbers) // 2, 2], "data": numbers}
    body = (json_of or json.dumps({"inputs": [entry]})).encode()
    lines = "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"Host": "h", "Authorization": "ann", **fields}.items()
    )
    return f"POST /v2/models/digits/infer HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


QUESTION = question()
TEXT = text(1, 2, 3, 4)
Start = Callable[..., Awaitable["Pair"]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of other tasks' doing, which tell nobody
            await asyncio.sleep(0.005)


class Pair:
    """Two gateways that are asked the same, of which one knows nobody again."""

    def __init__(self, endpoints: int, policy: str) -> None:
        self.policy = policy
        self.servers = [Server() for _ in range(endpoints)]
        self.words: tuple[str, ...] = ()  # what each backend will do for each gateway
        self.both: list[Whole] = []
        self.clients: list[list[Client]] = []
        self.running: list[asyncio.Server] = []
        self.at_once = False  # the last request was asked without being admitted
        self.to_the_end = False  # and answered so
        self.closed = False

    async def start(self, clients: int) -> Pair:
        self.running = [await server.start() for server in self.servers]
        self.both = [Whole(self.policy, self.servers, Held()), Whole(self.policy, self.servers, Unknowing())]
        for whole in self.both:
            await whole.start()
            ports = [whole.listener.port] * clients
            self.clients.append([Client(*await asyncio.open_connection("127.0.0.1", port)) for port in ports])
        return self

    async def close(self) -> None:
        """Once, however often."""
        if self.closed:
            return
        self.closed = True
        for client in (client for each in self.clients for client in each):
            client.close()
        for whole in self.both:
            async with asyncio.timeout(5):
                await whole.close()
            assert not any(whole.held())
        for server in self.running:
            server.close()

    async def same(self, *asked: bytes, client: int = 0) -> Reply:
        """The one answer of both, who counted and recorded and asked the same."""
        found, before, resumed = [], self.both[0].front.admitted, self.both[0].front.resumed
        for whole, clients in zip(self.both, self.clients, strict=True):
            for server in self.servers:
                server.words, server.seen = deque(self.words), []
            status, headers, body = await clients[client].ask(*asked)
            assert {"x-request-id", "date"} <= headers.keys()
            told = {name: value.partition(";t=")[0].partition("; ttl=")[0] for name, value in headers.items() if name not in OWN}
            found.append((status, told, body, whole.counted(), whole.recorded(), whole.seen(), whole.held()))
        assert found[1] == found[0]
        self.at_once = before == self.both[0].front.admitted
        self.to_the_end = self.at_once and resumed == self.both[0].front.resumed
        return Reply(*found[0][:3])

    async def settled(self, asked: bytes = QUESTION) -> None:
        """From the third on it is asked at once."""
        found = []
        for _ in range(4):
            await self.same(asked)
            found.append(self.at_once)
        assert [False, False, True, True] == found
