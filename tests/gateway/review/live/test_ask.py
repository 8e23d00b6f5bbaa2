"""Tests of gateway.review.live.ask: what is asked of whom, and what is made of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from backends.balance import Balance
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.rules import Rules
from backends.signature import Input
from gateway.configuration.load import load_policy
from gateway.review.live.ask import AT_ONCE, Waiting, ask
from gateway.review.live.served import Heard, Missing, Served, Unheard

POLICY = """version: 1
backends:
  triton: {protocol: triton-http, endpoints: [a:1]}
models:
  digits:
    variants:
      fast: {backend: triton, model: fast}
      same: {backend: triton, model: fast}
      dear: {backend: triton, model: dear, version: "2"}
    routes: [{name: default, use: fast}]
"""
FAST, DEAR = ("fast", ""), ("dear", "2")
KNOWN = Served(True, {"x": Input("FP32", (-1, 4))}, {"y": Input("FP32", (-1, 2))}, 8, ("1", "2"))


class Fake:
    """A server that knows models by name, hangs where it is told to, and counts who is inside."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.up = True
        self.failures: dict[str, InferenceError] = {}
        self.hangs: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.inside = self.most = 0
        self.closed = False
        self.full = asyncio.Event()  # so many are inside as may be
        self.gate: asyncio.Event | None = None

    async def _enter(self, what: str, model: str, version: str) -> bool:
        self.asked.append((what, model, version))
        if what in self.hangs or model in self.hangs:
            await asyncio.Event().wait()
        if what in self.failures:
            raise self.failures[what]
        self.inside, self.most = self.inside + 1, max(self.most, self.inside + 1)
        if self.inside == AT_ONCE:
            self.full.set()
        if self.gate is not None and model:
            await self.gate.wait()
        self.inside -= 1
        return model in self.names and version in ("", "1", "2")

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        return (await self._enter("ready", model, version) or not model) and self.up

    async def describe(self, what: str, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        if not await self._enter(what, model, version):
            raise InferenceError(ErrorKind.NOT_FOUND, "unknown")
        if what == "config":
            return {"max_batch_size": 8}
        tensors = {"inputs": [("x", 4)], "outputs": [("y", 2)]}
        shown = {key: [{"name": n, "datatype": "FP32", "shape": [-1, size]} for n, size in each] for key, each in tensors.items()}
        return {"name": model, "versions": ["1", "2"], **shown}

    async def close(self) -> None:
        self.closed = True


class Indexed(Fake):
    """One that also says which models there are."""

    async def models(self, deadline: Deadline) -> tuple[str, ...]:
        await self._enter("models", "", "")
        return self.names


async def heard(*servers: Fake, policy: str = POLICY, seconds: float = 5.0, told: Waiting = lambda _: None) -> tuple[Heard, ...]:
    """What a cluster of these servers is heard to say."""
    endpoints = [Endpoint(f"a:{index}", server) for index, server in enumerate(servers, 1)]  # type: ignore[arg-type]
    clusters = {"triton": Cluster("triton", endpoints, Balance("round-robin", lambda: 0.0), Rules(8), lambda *_: None)}
    document = load_policy(policy.encode(), "policy.yaml")
    return await ask(document, clusters, seconds, told, patience=0.01)


async def test_everything_is_there() -> None:
    """Each model version is asked once, however many variants name it; the connections are closed."""
    server = Fake("fast", "dear")
    assert (Heard("triton", 0, "a:1", None, {FAST: KNOWN, DEAR: KNOWN}),) == await heard(server)
    assert 1 == server.asked.count(("metadata", "fast", ""))
    assert server.closed


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ErrorKind.UNAVAILABLE, "nobody answers at a:1 over triton-http"),
        (ErrorKind.DEADLINE, "a:1 did not answer within 5 s"),
        (ErrorKind.BROKEN, "a:1 cannot be asked: it broke"),
    ],
)
async def test_a_server_that_cannot_be_asked(kind: ErrorKind, expected: str) -> None:
    """Says so once, and is not asked for its models; the others are."""
    failing, other = Fake(), Fake("fast", "dear")
    failing.failures["ready"] = InferenceError(kind, "it broke")
    first, second = await heard(failing, other)
    assert Heard("triton", 0, "a:1", expected) == first
    assert (1, None, {FAST: KNOWN, DEAR: KNOWN}) == (second.index, second.failure, second.models)
    assert [("ready", "", "")] == failing.asked


async def test_a_server_that_is_not_ready() -> None:
    """Is a failure only where none of the policy's models is ready either."""
    server = Fake("fast")
    server.up = False
    (told,) = await heard(server)
    assert Heard("triton", 0, "a:1", "a:1 answers, but is not ready") == told


async def test_a_missing_model() -> None:
    """Comes with the models there are, where the server tells; a missing version with the versions there are."""
    (told,) = await heard(Fake("dear"), policy=POLICY.replace('"2"', '"7"'))
    assert {FAST: Missing(), ("dear", "7"): Missing(("1", "2"))} == told.models
    (told,) = await heard(Indexed("dear", "more"))
    assert Missing(others=("dear", "more")) == told.models[FAST]
    silent = Indexed("dear")
    silent.failures["models"] = InferenceError(ErrorKind.NOT_FOUND, "no extension")
    (told,) = await heard(silent)
    assert Missing() == told.models[FAST]


async def test_a_server_without_the_extension() -> None:
    """A plain server of the protocol has no configuration: it does not tell how many rows it takes."""
    server = Fake("fast", "dear")
    server.failures["config"] = InferenceError(ErrorKind.NOT_FOUND, "no such path")
    (told,) = await heard(server)
    known = told.models[FAST]
    assert isinstance(known, Served)
    assert (True, None) == (known.ready, known.max_batch)


async def test_a_model_that_is_ready_but_not_described() -> None:
    """Is there, whatever it takes."""
    server = Fake("fast", "dear")
    server.failures["metadata"] = InferenceError(ErrorKind.NOT_FOUND, "not described")
    (told,) = await heard(server)
    assert {FAST: Served(True), DEAR: Served(True)} == told.models


async def test_a_failure_at_a_model() -> None:
    """Is that model's alone."""
    server = Fake("fast", "dear")
    server.failures["config"] = InferenceError(ErrorKind.BROKEN, "it broke")
    (told,) = await heard(server)
    assert Unheard("a:1 cannot be asked: it broke") == told.models[FAST]


async def test_a_model_that_hangs() -> None:
    """Holds up nothing beyond the time for all, and costs no other model its answer."""
    server = Fake("fast", "dear")
    server.hangs.add("dear")
    (told,) = await heard(server, seconds=0.05)
    assert {FAST: KNOWN, DEAR: Unheard("a:1 did not answer within 0.05 s")} == told.models


async def test_many_models_side_by_side() -> None:
    """So many at once of one server, and no more: its clients come first."""
    names = [f"m{number}" for number in range(3 * AT_ONCE)]
    variants = "".join(f"      {name}: {{backend: triton, model: {name}}}\n" for name in names)
    policy = POLICY.replace("    routes:", f"{variants}    routes:")
    server = Fake("fast", "dear", *names)
    server.gate = asyncio.Event()
    asking = asyncio.ensure_future(heard(server, policy=policy))
    await server.full.wait()
    server.gate.set()
    (told,) = await asking
    assert len(names) + 2 == list(told.models.values()).count(KNOWN)
    assert AT_ONCE == server.most


async def test_whoever_is_waited_for_is_named() -> None:
    """After a while, and only those that have not answered."""
    quick, slow = Fake("fast", "dear"), Fake("fast", "dear")
    slow.hangs.add("dear")
    told: list[Sequence[str]] = []
    await heard(quick, slow, seconds=0.1, told=told.append)
    assert [["a:2 (triton)"]] == told
    await heard(quick, seconds=0.1, told=told.append)
    assert 1 == len(told)
