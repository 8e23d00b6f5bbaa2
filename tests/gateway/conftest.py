"""What the gateway's tests share: a data plane over fakes, requests and inquiries made in a line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from backends.balance import Balance
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors, TensorSpec
from backends.rules import Rules
from backends.tensors import Tensor
from gateway.snapshot import ClusterSpec, Model, Snapshot
from policies.call import Answer, Call, Share
from routing.plan import Plan, Stage, Target


class Described:
    """A backend that knows models by name, or fails as it is told."""

    def __init__(self) -> None:
        self.known = {"b_fast", "b_dear"}
        self.asked: list[tuple[str, str, str]] = []
        self.versions: list[str] = []
        self.width = 2
        self.failure: InferenceError | None = None
        self.failures: dict[str, InferenceError] = {}
        self.unready = False
        self.hangs: dict[str, asyncio.Event] = {}  # set when its question ends
        self.closed = False
        self.batching: dict[str, Any] = {}

    def _found(self, what: str, model: str, version: str) -> None:
        self.asked.append((what, model, version))
        failure = self.failures.get(model, self.failure)
        if failure is not None:
            raise failure
        if model not in self.known:
            raise InferenceError(ErrorKind.NOT_FOUND, "unknown")

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        if self.unready or (model not in self.known and self.failure is None):  # as Triton: it says no more than that
            return False
        self._found("ready", model, version)
        return version != "9"

    async def describe(self, what: str, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        self._found(what, model, version)
        if model in self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.hangs[model].set()
        if what == "stats":
            return {"model_stats": [{"name": model, "version": version}]}
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, self.width]}]
        return (
            {"name": model, "versions": self.versions, "inputs": inputs}
            if what == "metadata"
            else {"name": model, "max_batch_size": 4, "dynamic_batching": self.batching}
        )

    async def close(self) -> None:
        self.closed = True


class Fake:
    """A snapshot of one model `digits` with variants fast and dear (pinned to version 2), and what it was asked."""

    def __init__(self) -> None:
        self.backend = Described()
        self.calls: list[Call] = []
        self.failure: BaseException | None = None
        self.fast = Target("fast", "triton", "b_fast", cost=1.0)
        self.dear = Target("dear", "triton", "b_dear", "2", cost=40.0)
        self.plan = Plan("default", (Stage(self.fast),), timeout=2.0, dearest=40.0)
        self.protocol = "triton-http"

    async def ask(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure
        rows = call.request.rows or 1
        tensor = Tensor("y", "BOOL", (rows,), bytes(rows))
        response = InferenceResponse("b_fast", "1", call.request.id, {}, Tensors((tensor,)))
        return Answer(response, (Share("fast", rows, "b_fast", "1"),), 1.0 * rows, 0.0)

    async def stream(self, call: Call) -> AsyncGenerator[Answer, None]:
        yield await self.ask(call)
        yield await self.ask(call)

    def snapshot(self, version: str = "v1", **models: tuple[Target, ...]) -> Snapshot:
        cluster = Cluster("triton", [Endpoint("a", self.backend)], Balance("round-robin", lambda: 0.0), Rules(8), lambda *_: None)  # type: ignore[arg-type]
        spec = ClusterSpec("triton", self.protocol, (("a", 1),), "round-robin")
        given = models or {"digits": (self.fast, self.dear)}
        made = {name: Model(name, lambda _: self.plan, self.ask, self.stream, targets) for name, targets in given.items()}
        return Snapshot(version, made, {"triton": cluster}, {"triton": spec})


@pytest.fixture
def fake() -> Fake:
    """A snapshot's insides."""
    return Fake()


@pytest.fixture
def make_request() -> Callable[..., InferenceRequest]:
    """Requests of one input `x` whose tensors nobody needs."""

    def make(rows: int = 1, model: str = "digits", datatype: str = "FP32", **more: Any) -> InferenceRequest:
        given = {"version": "", "id": "q", "parameters": {}, "outputs": (), "payload": Tensors(()), **more}
        return InferenceRequest(model=model, inputs=(TensorSpec("x", datatype, (rows, 2)),), **given)

    return make
