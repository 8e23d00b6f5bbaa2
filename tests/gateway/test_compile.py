"""From a policy's text to the snapshot that requests read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backends.inference import LARGEST_ANSWER
from backends.rules import Checks, Ejection, Hedge, Retry, Rules
from backends.triton_grpc import TritonGrpc
from backends.triton_http import TritonHttp
from gateway.compile import blueprint, cluster, compile_snapshot, lasting
from gateway.configuration.problems import PolicyError
from gateway.door import OPEN
from gateway.snapshot import ClusterSpec, Snapshot
from gateway.telemetry.metrics import Metrics
from policies.limit import LimitPolicy

POLICY = """
version: 1
backends:
  one: {protocol: triton-http, endpoints: ["127.0.0.1:1", "127.0.0.1:2"], balance: round-robin, max_in_flight: 3}
  two: {protocol: triton-grpc, endpoints: ["127.0.0.1:3"]}
models:
  digits:
    variants:
      spare: {backend: one, model: s}
      unused: {backend: one, model: u}
      fast: {backend: one, model: f}
      dear: {backend: two, model: d}
    routes:
      - {name: split, match: {tier: x}, split: {dear: 1, unused: 0}}
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.5}, {use: dear}]}
    fallback: {dear: spare}
"""


def compiled(text: str = POLICY, previous: Snapshot | None = None) -> Snapshot:
    return compile_snapshot(blueprint(text.encode(), "policy.yaml"), previous, Metrics(), lambda: 0.0)


def test_the_document_becomes_a_snapshot() -> None:
    """Clusters, models and the version, which is the content's."""
    snapshot = compiled()
    assert (["one", "two"], ["digits"]) == (list(snapshot.clusters), list(snapshot.models))
    assert blueprint(POLICY.encode(), "x").version == snapshot.version
    assert ["127.0.0.1:1", "127.0.0.1:2"] == [endpoint.address for endpoint in snapshot.clusters["one"].endpoints]
    assert snapshot.streams(snapshot.models["digits"].targets[0])


async def test_what_did_not_change_is_taken_over() -> None:
    """A cluster of an equal spec is the one that runs; a changed one is new, though its name is the same."""
    first = compiled()
    second = compiled(POLICY.replace("max_in_flight: 3", "max_in_flight: 4") + "# changed\n", first)
    assert second.clusters["two"] is first.clusters["two"]
    assert second.clusters["one"] is not first.clusters["one"]
    assert second.version != first.version
    third = compiled(POLICY.replace("accept: 0.5", "accept: 0.6"), second)
    assert third.clusters["two"] is second.clusters["two"]


@pytest.mark.parametrize(("protocol", "kind"), [("triton-http", TritonHttp), ("triton-grpc", TritonGrpc)])
async def test_a_cluster_speaks_its_protocol(protocol: str, kind: type) -> None:
    """One backend for each endpoint; nothing connects before it is asked."""
    made = cluster(ClusterSpec("c", protocol, (("127.0.0.1", 1), ("::1", 2)), "least-request", Rules(8)), lambda *_: None)
    assert [kind, kind] == [type(endpoint.backend) for endpoint in made.endpoints]
    await made.close()


@pytest.mark.parametrize(("given", "bound"), [({}, LARGEST_ANSWER), ({"answer": 5}, 5)])
def test_what_an_answer_may_have(given: dict[str, int], bound: int) -> None:
    """Whatever a backend speaks, and for whatever it is asked beside requests: what is handed down for all of them."""
    pure = POLICY.replace("model: f}", "model: f, pure: true}").replace("model: d}", "model: d, pure: true}")
    text = pure.replace("    routes:\n", "    shadows: [{name: s, of: fast, to: dear, fraction: 10%}]\n    routes:\n", 1)
    kept = replace(lasting(lambda: 0.0), **given)  # type: ignore[arg-type]
    snapshot = compile_snapshot(blueprint(text.encode(), "policy.yaml"), None, Metrics(), lambda: 0.0, kept)
    own = kept.shadows._clusters.of("digits", "s")
    found = [endpoint.backend for each in (*snapshot.clusters.values(), *own.values()) for endpoint in each.endpoints]
    assert {TritonHttp: 4, TritonGrpc: 2} == Counter(type(backend) for backend in found)
    assert {bound} == {b._pool._limits.max_body if isinstance(b, TritonHttp) else b._max_message for b in found}  # type: ignore[attr-defined]


def test_rules_of_a_backend() -> None:
    """Every key gets to the cluster, and so does every one that was left out."""
    assert (Rules(3), Rules()) == tuple(compiled().clusters[name].rules for name in ("one", "two"))
    more = "max_in_flight: 3, retry: {attempts: 3}, hedge: {after: p90}, breaker: {failures: 2}, health: {timeout: 2s}"
    rules = compiled(POLICY.replace("max_in_flight: 3", more)).clusters["one"].rules
    assert Rules(3, Retry(3, 0.1), Hedge(0.9, 0.05), Ejection(2, 3.0), Checks(2.0, 2.0)) == rules


def test_a_document_with_a_mistake() -> None:
    """Nothing is made of it."""
    with pytest.raises(PolicyError, match=r"policy\.yaml:4"):
        compiled(POLICY.replace("round-robin", "round-robbin"))


LIMITS = "limits: [{match: {model: digits, tier: free}, per: tenant, requests: 1/h}]\n"
OTHER = "  other: {variants: {fast: {backend: one, model: f}}, routes: [{name: default, use: fast}]}\n"


def test_only_models_that_a_limit_may_bind_have_its_layer() -> None:
    """The others are asked through the very layers they had without any limit: there is nothing to pay for."""
    plain, limited = (compiled(POLICY + OTHER + more) for more in ("", LIMITS))
    depth = {name: [_layers(each.models[name].ask) for each in (plain, limited)] for name in ("digits", "other")}
    assert {"digits": [0, 1], "other": [0, 0]} == {
        name: [layers.count("LimitPolicy") for layers in depth[name]] for name in depth
    }
    streams = [each.models[name].stream.__name__ for each in (plain, limited) for name in ("digits", "other")]
    assert ["cached", "cached", "<lambda>", "cached"] == streams


def test_who_has_no_cache_pays_for_none() -> None:
    """Only a model that says so has the two layers of a cache."""
    text = (POLICY + OTHER).replace("  digits:\n", "  digits:\n    cache: {ttl: 1m}\n")
    models = compiled(text).models
    depth = {name: [_layers(models[name].ask).count(layer) for layer in ("CachePolicy", "CoalescePolicy")] for name in models}
    assert {"digits": [1, 1], "other": [0, 0]} == depth
    assert (True, False) == tuple(models[name].door is OPEN for name in ("digits", "other"))  # what is kept needs no place


ROLLOUT = """rollouts:
      fast: {candidate: dear, proof: time, steps: [{weight: 5%, hold: 1h}], guards: [{metric: error-rate, max_increase: 1%}]}
    routes:"""


@pytest.mark.parametrize(
    ("plain", "old", "new"),
    [
        (True, "", ""),
        (True, "models:", LIMITS + "models:"),
        (True, "use: fast}", "match: {header: {x-kind: a}}, use: fast}, {name: rest, use: fast}"),
        (False, "models:", "limits: [{name: all, cost: 10/hour}]\nmodels:"),
        (False, "use: fast}", "match: {header: {x-request-id: a}}, use: fast}, {name: rest, use: fast}"),
        (False, "use: fast}", "match: {text_length: {prompt: 5..}}, use: fast}, {name: rest, use: fast}"),
        (False, "use: fast}", "split: {fast: 50, dear: 50}}"),
        (False, "routes:", "shadows: [{name: s, of: fast, to: dear, fraction: 10%}]\n    routes:"),
        (
            False,
            "routes:",
            ROLLOUT,
        ),
    ],
)
def test_who_is_asked_at_once(plain: bool, old: str, new: str) -> None:
    """Models to whose questions no layer but a limit has anything to say, and whose plans are the same for all that are alike."""
    assert plain is (compiled(ALONE.replace(old, new)).models["digits"].direct is not None)


ALONE = """
version: 1
backends:
  one: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}
models:
  digits:
    variants: {fast: {backend: one, model: f, cost: 1, pure: true}, dear: {backend: one, model: d, cost: 2, pure: true}}
    routes: [{name: default, use: fast}]
"""


def test_a_meter_outlives_snapshots() -> None:
    """Given to one after the other it goes on counting; a snapshot without one has its own."""
    kept, drawn = lasting(lambda: 0.0), blueprint((POLICY + LIMITS).encode(), "policy.yaml")
    meter = kept.meter
    assert [meter, meter] == [
        _policy(compile_snapshot(drawn, None, Metrics(), lambda: 0.0, kept).models["digits"].ask)._meter for _ in range(2)
    ]
    assert meter is not _policy(compile_snapshot(drawn, None, Metrics(), lambda: 0.0).models["digits"].ask)._meter


def _held(ask: object) -> Iterator[object]:
    """The layers of an onion, outermost first."""
    while cells := getattr(ask, "__closure__", None):
        found = {name: cell.cell_contents for name, cell in zip(ask.__code__.co_freevars, cells, strict=True)}  # type: ignore[attr-defined]
        if "policy" not in found:
            return
        yield found["policy"]
        ask = found["ask"]


def _layers(ask: object) -> list[str]:
    return [type(each).__name__ for each in _held(ask)]


def _policy(ask: object) -> LimitPolicy:
    return next(each for each in _held(ask) if isinstance(each, LimitPolicy))
