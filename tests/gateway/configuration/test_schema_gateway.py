"""Tests of gateway.configuration.schema_gateway: the values only a gateway document has."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError, UnreadableError
from gateway.configuration.readers import Address
from gateway.configuration.schema_gateway import (
    Auth,
    Claims,
    Drain,
    GatewayDocument,
    Issuer,
    Limits,
    Listen,
    Redis,
    Samples,
    Telemetry,
    read_jwks,
    read_path,
)

FULL = b"""
listen: {http: 127.0.0.1:1, grpc: "[::1]:2", admin: 127.0.0.1:3}
workers: 4
store: rediss://penstock@redis.internal:6380/2
redis: {password_file: secrets/redis, ca_file: ca.pem, answers: 0B}
state: /var/lib/penstock
limits:
  {body: 1MiB, inflated: 2MiB, chunks: 3, request_line: 4KiB, headers: 8KiB, header_count: 5, connections: 6,
   connections_per_address: null, pipelined: 7KiB, unread: 8KiB, unsent: 16KiB, answer: 20KiB, first_byte_timeout: 9s,
   headers_timeout: 10s, body_grace: 11s, body_rate: 12B, write_timeout: 13s, idle_timeout: 14s, linger_timeout: 15s}
auth:
  jwt: [{issuer: https://id.example.com, audience: penstock, jwks: https://id.example.com/jwks.json, algorithms: [EdDSA]}]
  claims: {tenant: org, tier: plan, scopes: scp}
  api_keys: keys.yaml
  anonymous: true
telemetry: {access_log: off, access_log_share: 5%, otlp: null}
drain: {grace: 5s}
"""


def test_everything() -> None:
    """Every key that the contract has and this version supports is read."""
    issuer = Issuer("https://id.example.com", "penstock", "https://id.example.com/jwks.json", ("EdDSA",))
    expected = GatewayDocument(
        Listen(Address("127.0.0.1", 1), Address("::1", 2), Address("127.0.0.1", 3)),
        workers=4,
        store="rediss://penstock@redis.internal:6380/2",
        redis=Redis("secrets/redis", "ca.pem", 0),
        state="/var/lib/penstock",
        limits=Limits(
            *(1 << 20, 2 << 20, 3, 4 << 10, 8 << 10, 5, 6, None, 7 << 10, 8 << 10, 16 << 10, 20 << 10, 9, 10, 11, 12, 13, 14, 15)
        ),
        auth=Auth((issuer,), Claims("org", "plan", "scp"), "keys.yaml", True),
        telemetry=Telemetry("off", 0.05),
        drain=Drain(grace=5.0),
    )
    assert expected == load_gateway(FULL, "gateway.yaml")


@pytest.mark.parametrize(
    ("text", "path", "what", "meant"),
    [
        ("workers: 65", "workers", "'65' is not a number of workers: 1 to 64", None),
        ("state: [x]", "state", "must be text", None),
        ("state: s3://bucket", "state", "must be the path of a folder, or null", None),
        ("state: ''", "state", "has no value", None),
        ("workers: 0", "workers", "'0' is not a number of workers", None),
        ("workers: true", "workers", "'true' is not a number of workers", None),
        (
            "store: redis://:secret@localhost",
            "store",
            "a URL with a password is refused: give it in redis.password_file or",
            None,
        ),
        ("store: [memory]", "store", "is neither memory nor the URL of a Redis server", "memory"),
        ("{store: memory, redis: {ca_file: ca.pem}}", "redis", "nobody would look at it: store is memory", None),
        ("{store: redis://h, redis: {ca_file: ca.pem}}", "redis.ca_file", "there is no certificate to check without TLS", None),
        ("{store: memory, redis: {answers: 2MiB}}", "redis", "nobody would look at it: store is memory", None),
        (
            "{store: redis://h, redis: {answers: 5MiB}}",
            "redis.answers",
            "more than Redis can give in time: 4MiB at most",
            "1MiB",
        ),
        ("{store: redis://h, redis: {password: x}}", "redis.password", "unknown key 'password'", "password_file"),
        ("store: memroy", "store", "'memroy' is neither memory nor the URL of a Redis server", "memory"),
        ("xds: {listen: null}", "xds", "'xds' is not supported by this version yet", None),
        ("lissten: {}", "lissten", "unknown key 'lissten'", "listen"),
        ("listen: {http: 8080}", "listen.http", "'8080' is not text", '"8080"'),
        ("listen: {http: ':8080'}", "listen.http", "is not host:port", None),
        ("limits: {body: 64MB}", "limits.body", "unknown unit 'MB'", "64MiB"),
        ("limits: {body: 0B}", "limits.body", "larger than 0", None),
        ("limits: {body: 5}", "limits.body", "'5' has no unit", None),
        ("limits: {connections: 0}", "limits.connections", "is not a whole number of at least 1", None),
        ("limits: {connections_per_address: 0}", "limits.connections_per_address", "not a whole number of at least 1", None),
        ("limits: {headers_timeout: 0s}", "limits.headers_timeout", "must be longer than 0", None),
        ("limits: {body_rate: 1024}", "limits.body_rate", "'1024' has no unit", None),
        ("telemetry: {otlp: 'http://c:4317'}", "telemetry.otlp", "not supported by this version yet", None),
        ("telemetry: {access_log: true}", "telemetry.access_log", "'true' is not one of json or off", None),
        ("drain: {grace: 0s}", "drain.grace", "longer than 0", None),
        ("auth: {anonymous: yes}", "auth.anonymous", "neither true nor false", "true"),
        ("auth: {api_keys: [sk-hunter2]}", "auth.api_keys", "keys themselves never stand in this document", None),
        ("auth: {jwt: [{audience: a, jwks: k}]}", "auth.jwt[0]", "'issuer' is missing", None),
        (
            "auth: {jwt: [{issuer: i, audience: a, jwks: k, secret: hunter2}]}",
            "auth.jwt[0].secret",
            "secrets come from files",
            None,
        ),
    ],
)
def test_mistakes(text: str, path: str, what: str, meant: str | None) -> None:
    """Whatever this version does not support, or nobody would, is said with its place; no secret is repeated."""
    with pytest.raises(PolicyError) as refused:
        load_gateway(text.encode(), "gateway.yaml")
    (problem,) = refused.value.problems
    assert (path, 1, meant) == (problem.path, problem.line, problem.suggestion)
    assert what in problem.message
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS384", "rs256"])
def test_algorithms(algorithm: str) -> None:
    """Only RS256, ES256 and EdDSA are believed; never a shared secret, never none."""
    text = f"auth: {{jwt: [{{issuer: i, audience: a, jwks: k, algorithms: [{algorithm}]}}]}}"
    with pytest.raises(PolicyError, match=r"auth\.jwt\[0\]\.algorithms\[0\]"):
        load_gateway(text.encode(), "gateway.yaml")


@pytest.mark.parametrize(
    "jwks",
    ["https://id.example.com/jwks.json", "http://127.0.0.1:9/jwks", "http://[::1]/k", "http://localhost/k", "config/jwks.json"],
)
def test_jwks(jwks: str) -> None:
    """Keys come by https, by http from this machine, or from a file."""
    assert jwks == read_jwks(jwks)


@pytest.mark.parametrize(
    "jwks",
    [
        "http://id.example.com/jwks.json",
        "https://user:hunter2@id.example.com/jwks.json",
        "ftp://id.example.com/",
        "file:///etc/jwks.json",
        "https://",
        "https://[::1/",
        "https://h:99999/",
        "https://h/a b",
        "https://h/#k",
        "",
        None,
        ["a"],
    ],
)
def test_no_jwks(jwks: object) -> None:
    """Keys over plain http, and URLs with a password or of another kind, are refused without repeating the password."""
    with pytest.raises(UnreadableError) as refused:
        read_jwks(jwks)
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("path", ["", "a\x00b", "https://h/keys", 7, None, {}])
def test_no_path(path: object) -> None:
    """A file's path is printable text and no URL."""
    with pytest.raises(UnreadableError):
        read_path(path)


def test_the_state_is_a_folder_or_nothing() -> None:
    """As a path, which may be relative."""
    assert (None, Path(".penstock")) == (GatewayDocument().state_folder, GatewayDocument(state=".penstock").state_folder)


def test_samples_have_a_place_or_none() -> None:
    """A file with a size and a number; a size in which not even one sample fits is refused."""
    assert load_gateway(b"", "gateway.yaml").telemetry.samples is None
    found = load_gateway(b"telemetry: {samples: {file: s.jsonl}}", "gateway.yaml").telemetry.samples
    assert Samples("s.jsonl", 64 << 20, 4) == found
    with pytest.raises(PolicyError, match="too small: one sample may have 64KiB"):
        load_gateway(b"telemetry: {samples: {file: s.jsonl, size: 1KiB}}", "gateway.yaml")
