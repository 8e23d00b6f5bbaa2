"""Tests of gateway.configuration.load: whole files, good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.load import load_gateway, load_policy, version
from gateway.configuration.problems import PolicyError
from gateway.configuration.readers import Address
from gateway.configuration.schema_cascade import Cascade, Confidence, Stage
from gateway.configuration.schema_gateway import Auth, GatewayDocument, Issuer, Listen
from gateway.configuration.schema_policy import (
    Backend,
    Match,
    Model,
    PolicyDocument,
    Route,
    Variant,
)
from gateway.configuration.tables import route_tables

CONFIG = Path(__file__).parents[3] / "config"
POLICIES = [CONFIG / "policy.yaml", *sorted((CONFIG / "examples").glob("*.yaml"))]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_shipped_policies(path: Path) -> None:
    """Every policy that comes with Penstock can be used."""
    assert route_tables(load_policy(path.read_bytes(), path.name))


def test_examples_are_there() -> None:
    """There is an example for a split, a cascade and a tier."""
    assert {"canary.yaml", "cascade.yaml", "enterprise.yaml", "blue-green.yaml"} <= {path.name for path in POLICIES}


def test_shipped_gateway_is_the_defaults() -> None:
    """The gateway.yaml that comes with Penstock shows the defaults, of everything but the folder in which it remembers."""
    assert GatewayDocument(state=".penstock") == load_gateway((CONFIG / "gateway.yaml").read_bytes(), "gateway.yaml")


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"{}\n", b"listen: {}\nlimits: {}\n"])
def test_gateway_defaults(text: bytes) -> None:
    """A gateway document says only what differs from the defaults."""
    document = load_gateway(text, "gateway.yaml")
    assert GatewayDocument() == document
    assert Address("127.0.0.1", 8082) == document.listen.admin
    assert not document.auth.anonymous


@pytest.mark.parametrize("text", [b"", b"[]", b"text", b"7", b"version: 1", b"version: 1\nbackends: {}\nmodels: {}\n"])
def test_no_policy(text: bytes) -> None:
    """A policy has no defaults: without backends and models it is none."""
    with pytest.raises(PolicyError):
        load_policy(text, "policy.yaml")


def test_refusal_is_ordered_by_line() -> None:
    """All mistakes of a file come at once, from top to bottom, as `file:line: path: what — did you mean 'x'?`."""
    text = (
        "version: 1\n"
        "models:\n"
        "  digits:\n"
        "    variants: {fast: {backend: tritn, model: digits_fast}}\n"
        "    routes:\n"
        "      - {name: a, match: {teir: free}, use: fast}\n"
        "      - {name: b, use: fats}\n"
        "backends:\n"
        "  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000], retry: {attemps: 2}}\n"
    )
    with pytest.raises(PolicyError) as refused:
        load_policy(text.encode(), "policy.yaml")
    assert [
        "policy.yaml:4: models.digits.variants.fast.backend: unknown backend 'tritn' — did you mean 'triton'?",
        "policy.yaml:6: models.digits.routes[0].match.teir: unknown key 'teir' — did you mean 'tier'?",
        "policy.yaml:7: models.digits.routes[1].use: unknown variant 'fats' — did you mean 'fast'?",
        "policy.yaml:9: backends.triton.retry.attemps: unknown key 'attemps' — did you mean 'attempts'?",
    ] == str(refused.value).splitlines()


def test_what_is_wrong_with_the_yaml_comes_with_the_rest() -> None:
    """An anchor, a repeated key, an alias or a merge key hides nothing of what else is wrong, and is not judged twice."""
    text = (
        "version: 1\n"
        "backends: &b\n"
        "  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}\n"
        "models:\n"
        "  digits:\n"
        "    variants: &v {fast: {backend: tritn, model: f}, fast: {}, slow: {backend: tritn, model: s}}\n"
        "    routes:\n"
        "      - {name: a, match: {<<: *m, teir: free}, use: fats}\n"
        "      - {name: b, use: fast, timeout: 2}\n"
        "  letters:\n"
        "    variants: *v\n"
        "    routes: [{name: a, use: fast}]\n"
        "aliases: *a\n"
        "tests: [{name: t, request: {model: mnist}, expect: {use: fast}}, {name: u, request: {model: digits}, expect: {}}]\n"
    )
    with pytest.raises(PolicyError) as refused:
        load_policy(text.encode(), "policy.yaml")
    assert [
        (2, "backends"),
        (6, "models.digits.variants"),
        (6, "models.digits.variants.fast"),
        (6, "models.digits.variants.slow.backend"),
        (8, "models.digits.routes[0].match"),
        (8, 'models.digits.routes[0].match."<<"'),
        (8, "models.digits.routes[0].use"),
        (9, "models.digits.routes[1].timeout"),
        (11, "models.letters.variants"),
        (13, "aliases"),
        (14, "tests[1].expect"),
    ] == [(problem.line, problem.path) for problem in refused.value.problems]


@pytest.mark.parametrize(
    "text", ["workers: &w 2\n", "workers: 2\nworkers: 2\n", "workers: !!int 2\n", "*x\n", "listen: {<<: *x}\n"]
)
def test_nothing_that_yaml_alone_allows_is_loaded(text: str) -> None:
    """What is well but for an anchor, a tag, an alias or a repeated key is refused, in each kind of file."""
    with pytest.raises(PolicyError) as refused:
        load_gateway(text.encode(), "gateway.yaml")
    assert all("accepted" in each.message or "already" in each.message for each in refused.value.problems)
    policy = (CONFIG / "policy.yaml").read_text()
    for odd in ("version: &v 1", "version: !!int 1", "version: 1\nversion: 1"):
        with pytest.raises(PolicyError):
            load_policy(policy.replace("version: 1", odd, 1).encode(), "policy.yaml")


@pytest.mark.parametrize("path", POLICIES[1:], ids=lambda path: path.name)
def test_truncated(path: Path) -> None:
    """A file cut off anywhere is read or refused, never more than that."""
    text = path.read_bytes()
    for end in range(0, len(text), 7):
        _read_or_refused(text[:end])


@given(st.data())
def test_mutilated(data: st.DataObject) -> None:
    """A good file with any part replaced by anything is read or refused."""
    text = (CONFIG / "examples" / "enterprise.yaml").read_bytes()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    _read_or_refused(text[:start] + data.draw(st.binary(max_size=12)) + text[end:])


@given(st.text())
def test_any_text(text: str) -> None:
    """Arbitrary text is a document or a PolicyError, nothing else."""
    _read_or_refused(text.encode("utf-8", "surrogatepass"))


SCHEMAS = (
    PolicyDocument,
    Backend,
    Model,
    Variant,
    Route,
    Match,
    Cascade,
    Confidence,
    Stage,
    GatewayDocument,
    Auth,
    Issuer,
    Listen,
)
KEYS = st.sampled_from(sorted({field.name for schema in SCHEMAS for field in msgspec.structs.fields(schema)} | {"b", "m", "v"}))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(TREES)
def test_any_tree(tree: object) -> None:
    """Known keys in any arrangement with any values are a document or a PolicyError."""
    _read_or_refused(json.dumps({"version": 1, "backends": {"b": tree}, "models": {"m": tree}}).encode())
    _read_or_refused(json.dumps({"version": 1, "backends": GOOD_BACKENDS, "models": {"m": _model(tree)}}).encode())
    _read_or_refused(json.dumps(tree).encode())


GOOD_BACKENDS = {"b": {"protocol": "triton-http", "endpoints": ["h:1"]}}


def _model(tree: object) -> object:
    return {
        "variants": {"v": {"backend": "b", "model": "x"}},
        "routes": [{"name": "a", "use": tree}, {"name": "b", "split": tree}, {"name": "c", "cascade": tree}, tree],
        "fallback": tree,
    }


def _read_or_refused(text: bytes) -> None:
    loads: tuple[Callable[[bytes, str], object], ...] = (load_policy, load_gateway)
    for load in loads:
        refusal = None
        try:
            load(text, "file.yaml")
        except PolicyError as error:
            refusal = error
        assert refusal is None or (refusal.problems and str(refusal))


def test_version() -> None:
    """A snapshot is named by its file's content alone: 12 hexadecimal digits of SHA-256."""
    assert "e3b0c44298fc" == version(b"")
    assert version(b"a") != version(b"a ")
