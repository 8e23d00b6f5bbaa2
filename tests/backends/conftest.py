"""Endpoints without sockets, for tests of what stands before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from backends.balance import Balance
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.rules import Rules


class Scripted:
    """A backend that answers with its own name, fails, or waits for `gate`. `asked` counts, `left` those given up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: InferenceError | None = None
        self.gate: asyncio.Event | None = None
        self.asked = self.left = 0

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        self.asked += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        if self.failure is not None:
            raise self.failure
        return InferenceResponse(self.name, "", "", {}, Tensors(()))

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        yield await self.infer(request, deadline)
        yield await self.infer(request, deadline)

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        return True

    async def describe(self, what: str, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        return {"name": self.name}

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Set:
    """A cluster of scripted endpoints that are asked in turn, beginning with the first, and what was told of it."""

    servers: list[Scripted]
    cluster: Cluster
    told: list[tuple[str, str]] = field(default_factory=list)  # endpoint and outcome
    repeats: list[str] = field(default_factory=list)

    @property
    def asked(self) -> list[int]:
        return [server.asked for server in self.servers]

    def idle(self) -> bool:
        """Whether nothing is in flight, anywhere."""
        return not self.cluster.in_flight and not any(endpoint.in_flight for endpoint in self.cluster.endpoints)


def make(rules: Rules, *names: str, kind: str = "round-robin", chance: float = 0.0) -> Set:
    servers = [Scripted(name) for name in names]
    endpoints = [Endpoint(server.name, server, rules.breaker) for server in servers]
    made = Set(servers, None)  # type: ignore[arg-type]
    balance = Balance(kind, lambda: chance)
    made.cluster = Cluster("c", endpoints, balance, rules, lambda _, endpoint, outcome: made.told.append((endpoint, outcome)))
    made.cluster.repeated = lambda _, why: made.repeats.append(why)
    return made


async def until(condition: Callable[[], bool]) -> None:
    """Lets everybody else go on until the condition holds, for five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.001)


@pytest.fixture
def scripted() -> Any:
    """Makes such clusters."""
    return make
