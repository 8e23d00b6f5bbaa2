"""Caches that could give wrong answers are refused, with what to do."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.tables import route_tables

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    cache: {CACHE}
    variants:
      fast: {backend: triton, model: f}
      dear: {backend: triton, model: d, MARK}
    routes: [{name: a, use: fast}]
"""


def policy(cache: str, mark: str = "cost: 1") -> bytes:
    return POLICY.replace("CACHE", cache).replace("MARK", mark).encode()


@pytest.mark.parametrize(
    ("cache", "mark", "said"),
    [
        ("ttl: 1m", "deterministic: false", "'dear' may answer the same question otherwise each time"),
        ("ttl: 1m, rows: true", "row_independent: false", "what 'dear' answers to a row depends on the rows beside it"),
        ("ttl: 1m, rows: true, force: true", "row_independent: false", "models.digits.cache.rows"),
        ("rows: true", "cost: 1", "'ttl' is missing"),
        ("ttl: 0s", "cost: 1", "models.digits.cache.ttl"),
        ("ttl: 1m, stale_while_revalidate: forever", "cost: 1", "models.digits.cache.stale_while_revalidate"),
        ("ttl: 1m, row: true", "cost: 1", "did you mean 'rows'?"),
    ],
)
def test_what_is_refused(cache: str, mark: str, said: str) -> None:
    """With its place."""
    with pytest.raises(PolicyError) as refused:
        load_policy(policy(cache, mark), "policy.yaml")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("cache", "mark"),
    [("ttl: 1m, force: true", "deterministic: false"), ("ttl: 1m", "row_independent: false"), ("ttl: 1m, rows: true", "cost: 1")],
)
def test_what_is_taken(cache: str, mark: str) -> None:
    """What is forced on purpose, and whole answers of models whose rows depend on one another."""
    load_policy(policy(cache, mark), "policy.yaml")


def test_the_epoch_stands_for_the_model_and_where_it_is() -> None:
    """The same for the same definition, and another for another; what is said elsewhere does not count."""

    def epoch(text: bytes) -> bytes:
        caching = route_tables(load_policy(text, "policy.yaml"))["digits"].cache
        assert caching is not None
        return caching.epoch

    text = policy("ttl: 1m")
    assert epoch(text) == epoch(text + b"aliases: {numbers: digits}\n")
    for was, now in ((b"model: f", b"model: g"), (b"8000", b"8001"), (b"triton-http", b"triton-grpc"), (b"ttl: 1m", b"ttl: 2m")):
        assert epoch(text) != epoch(text.replace(was, now))


def test_the_epoch_stands_for_what_routes_by_prompts_and_how_sure_a_cascade_must_be() -> None:
    """Another router of the same name, another threshold, another map: nothing from before is found."""

    def epoch(text: str) -> bytes:
        caching = route_tables(load_policy(text.encode(), "policy.yaml"))["digits"].cache
        assert caching is not None
        return caching.epoch

    routed = (
        POLICY.replace("CACHE", "ttl: 1m")
        .replace("MARK", "cost: 1")
        .replace(
            "routes: [{name: a, use: fast}]",
            """routers:
      hard: {file: r.json, sha256: SHA, input: prompt}
    routes:
      - {name: hard, match: {prompt: {hard: {at_least: 0.6}}}, use: dear}
      - name: a
        cascade:
          confidence: {output: p, metric: max-softmax}
          stages: [{use: fast, accept: 0.9, calibration: {maps: {other: [[0.1, 0.2], [0.8, 0.95]]}}}, {use: dear}]
""",
        )
    )
    text = routed.replace("SHA", "a" * 64)
    assert epoch(text) == epoch(text)
    for was, now in (("a" * 64, "b" * 64), ("0.6", "0.7"), ("accept: 0.9", "accept: 0.8"), ("0.8, 0.95", "0.8, 0.96")):
        assert was in text
        assert epoch(text) != epoch(text.replace(was, now))
