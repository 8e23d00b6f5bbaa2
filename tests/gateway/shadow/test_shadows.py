"""Shadows' own ways to the backends: kept over policies, apart from everybody else's, held by what operators drain."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from time import monotonic

import pytest

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.inference import InferenceRequest, Tensors
from gateway.admin.drains import Drained
from gateway.aside import here
from gateway.compile import blueprint, cluster, compile_snapshot, lasting
from gateway.shadow.shadows import Shadows, shadows_of
from gateway.snapshot import ClusterSpec
from gateway.spawner import Spawner
from gateway.telemetry.metrics import Metrics
from policies.call import Call
from policies.shadow import Means
from routing.match import Question
from routing.principal import Principal

POLICY = """version: 1
backends:
  one: {protocol: triton-http, endpoints: [127.0.0.1:1], max_in_flight: 100, retry: {attempts: 3}, hedge: {}}
  two: {protocol: triton-http, endpoints: [127.0.0.1:2]}
models:
  digits:
    variants:
      live: {backend: one, model: d, pure: true}
      next: {backend: two, model: d, pure: true}
    routes: [{name: default, use: live}]
    shadows: [{name: dark, of: live, to: next, fraction: 50%, max_in_flight: 5}]
  plain:
    variants: {live: {backend: one, model: p}}
    routes: [{name: default, use: live}]
"""


class Bench:
    """Shadows whose clusters are told of."""

    def __init__(self, spawner: Spawner) -> None:
        self.made: list[Cluster] = []
        means = Means(spawner.spawn, lambda: 0.0, lambda: 0.0, lambda: 0.0, lambda *_: None, here)
        self.shadows = Shadows(means)

    def make(self, spec: ClusterSpec) -> Cluster:
        self.made.append(cluster(spec, sent=lambda *_: None))
        return self.made[-1]

    def take(self, text: str) -> dict[str, object]:
        drawn = blueprint(text.encode(), "p")
        return dict(self.shadows.layers(drawn.tables, {spec.name: spec for spec in drawn.clusters}, self.make))


async def test_only_models_with_shadows_have_the_layer() -> None:
    """And clusters of their own: small, repeating nothing."""
    bench = Bench(Spawner())
    assert ["digits"] == list(bench.take(POLICY))
    assert {"one", "two"} == {each.name for each in bench.made}
    assert {(10, None, None)} == {(each.rules.max_in_flight, each.rules.retry, each.rules.hedge) for each in bench.made}


async def test_what_does_not_change_is_kept() -> None:
    """With its connections; what is not wanted any more is closed, and what it saw forgotten."""
    spawner = Spawner()
    bench = Bench(spawner)
    bench.take(POLICY)
    bench.take(POLICY.replace("50%", "60%"))
    assert 2 == len(bench.made)
    bench.take(POLICY.replace("127.0.0.1:2", "127.0.0.1:3"))
    assert 3 == len(bench.made)
    assert 1 == len(spawner)
    assert [("digits", "dark")] == list(bench.shadows.accounts)
    bench.take(POLICY.replace("    shadows:", "    version_policy: all\n    #"))
    assert {} == bench.shadows.accounts
    await spawner.close()


async def test_drained_endpoints_are_not_mirrored_to() -> None:
    """Nor after a reload that makes their clusters anew."""
    bench = Bench(Spawner())
    bench.take(POLICY)
    bench.shadows.hold(Drained(endpoints=frozenset({("two", "127.0.0.1:2")})))
    bench.take(POLICY.replace("max_in_flight: 5", "max_in_flight: 6"))
    assert [("one", False), ("two", True)] == sorted((each.name, each.endpoints[0].drained) for each in bench.made[2:])


async def test_the_end() -> None:
    """Connections are let go, and who compares is told."""
    told: list[str] = []
    means = Means(Spawner().spawn, lambda: 0.0, lambda: 0.0, lambda: 0.0, lambda *_: None, here)

    async def ended() -> None:
        told.append("ended")

    shadows = Shadows(means, ended)
    await shadows.close()
    assert ["ended"] == told


async def test_streams_are_counted_and_not_mirrored() -> None:
    """Where a question would have been drawn; whether the stream then works makes no difference."""
    metrics, spawner = Metrics(), Spawner()
    shadows = shadows_of(spawner.spawn, metrics.shadowed)
    kept = replace(lasting(monotonic), shadows=shadows)
    drawn = blueprint(POLICY.replace("protocol: triton-http", "protocol: triton-grpc").encode(), "p")
    snapshot = compile_snapshot(drawn, None, metrics, monotonic, kept)
    model, caller = snapshot.models["digits"], Principal("ann", scopes=frozenset({"models:infer"}))
    plan = model.plan(Question(caller, {}, None, {}, "", "q"))
    request = InferenceRequest("digits", "", "q", {}, (), (), Tensors(()))
    call = Call("digits", request, caller, plan, Deadline(monotonic() + 2), target=plan.stages[0].target)
    async with aclosing(model.stream(call)) as answers:
        with pytest.raises(InferenceError):
            await anext(answers)
    assert [{"stream": 1}] == [each.ledger.outcomes for each in shadows.seen()]
    for each in snapshot.clusters.values():
        await each.close()
    await shadows.close()
    await spawner.close()
