"""Tests of gateway.configuration.schema_policy: the values only a policy has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError, UnreadableError
from gateway.configuration.schema_policy import (
    LATER_PROTOCOLS,
    read_header,
    read_header_value,
    read_metric,
    read_parameter,
    read_rows,
    read_unit,
    read_version,
    read_words,
)
from routing.match import Range

Read = Callable[[object], object]


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        (4, Range(4, 4)),
        ("1..8", Range(1, 8)),
        ("8..8", Range(8, 8)),
        ("16..", Range(16, None)),
        ("..8", Range(1, 8)),
        ("0..8", Range(1, 8)),
        ("0..", Range(1, None)),
    ],
)
def test_rows(written: object, rows: Range) -> None:
    """Rows are a number or a range with both ends included, either of which may be left out."""
    assert rows == read_rows(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8..1", "1..8"),
        (">=16", "16.."),
        ("> 16", "17.."),
        ("<=8", "..8"),
        ("<8", "..7"),
        ("..", None),
        ("4", "4"),
        ("1-8", "1..8"),
        (0, "1"),
        ("..0", "..1"),
        ("0..0", "..1"),
        ("<1", "..1"),
        ("0", None),
        ("1...8", None),
        ("-1..8", None),
        (-1, None),
        (1.5, None),
        (True, None),
        (None, None),
        ("", None),
        ([1, 8], None),
    ],
)
def test_no_rows(written: object, meant: str | None) -> None:
    """Other ways to write a range are refused, with the way it is written here."""
    with pytest.raises(UnreadableError) as refused:
        read_rows(written)
    assert meant == refused.value.suggestion


def test_words() -> None:
    """One word or several; the same twice is once."""
    assert ("a",) == read_words("a")
    assert ("a", "b") == read_words(["b", "a", "b"])


def test_header() -> None:
    """A header's name has no case."""
    assert "x-experiment" == read_header("X-Experiment")


@pytest.mark.parametrize(
    "name", ["x-penstock-route", "X-Penstock-Anything", "Authorization", "x-api-key", "cookie", "a b", "x:", "ä", ""]
)
def test_no_header(name: str) -> None:
    """Our own headers can never match, credentials do not belong into a policy, and the rest must be a header's name."""
    with pytest.raises(UnreadableError):
        read_header(name)


def test_header_value() -> None:
    """A value that could never arrive is refused."""
    assert "a b" == read_header_value("a b")
    for value in (" a", "a\nb", "", 1):
        with pytest.raises(UnreadableError):
            read_header_value(value)


@pytest.mark.parametrize("value", [True, 1, 1.5, "x", ""])
def test_parameter(value: object) -> None:
    """A parameter is compared with text, a number, true or false."""
    assert value == read_parameter(value)


@pytest.mark.parametrize(("text", "unit"), [("tenant", "tenant"), ("request", "request"), ("header:X-User", "header:x-user")])
def test_unit(text: str, unit: str) -> None:
    """A split sticks to the tenant, the subject, a header's value, or to nothing."""
    assert unit == read_unit(text)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_unit, "user"),
        (read_unit, "header:"),
        (read_unit, "header:x-penstock-route"),
        (read_metric, "softmax"),
        (read_metric, "output:"),
        (read_metric, "json:a"),
        (read_metric, 1),
        (read_words, []),
        (read_words, ["a", 1]),
        (read_words, 7),
        (read_parameter, None),
        (read_parameter, [1]),
        (read_version, 2),
        (read_version, "1"),
        (read_version, True),
        (read_version, 1.0),
    ],
)
def test_refused(read: Read, value: object) -> None:
    """Nothing else is a unit, a metric, a list of words, a parameter's value, or a version."""
    with pytest.raises(UnreadableError):
        read(value)


@pytest.mark.parametrize(
    ("read", "written", "meant"),
    [
        (read_metric, "margn", "margin"),
        (read_metric, "Max_Softmax", "max-softmax"),
        (read_metric, "ouput:score", "output:score"),
        (read_metric, "outputs:score", "output:score"),
        (read_metric, "output: score", "output:score"),
        (read_metric, "Output:score ", "output:score"),
        (read_metric, "output", "output:<name>"),
        (read_metric, "output:", "output:<name>"),
        (read_metric, "zzz", None),
        (read_unit, "tennant", "tenant"),
        (read_unit, "haeder:x-user", "header:x-user"),
        (read_unit, "header", "header:<name>"),
    ],
)
def test_what_was_meant(read: Read, written: str, meant: str | None) -> None:
    """A misspelt metric or unit brings the right one, the name behind the colon kept."""
    with pytest.raises(UnreadableError) as refused:
        read(written)
    assert meant == refused.value.suggestion


POLICY = """version: 1
backends:
  triton:
    protocol: triton-http
    endpoints: [127.0.0.1:8000]
models:
  digits:
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: a, match: {tier: x}, use: fast}, {name: b, use: fast}]
"""


@pytest.mark.parametrize(
    ("place", "key"),
    [
        *(("    protocol: triton-http\n", f"    {key}: 1\n") for key in ("retry", "hedge", "breaker", "health")),
        *(("  digits:\n", f"    {key}: 1\n") for key in ("cache", "shadows", "rollouts")),
        *(("version: 1\n", f"{key}: []\n") for key in ("limits", "tests")),
    ],
)
def test_keys_of_later_versions(place: str, key: str) -> None:
    """What the contract names but this version does not have is told from what is misspelt."""
    text = POLICY.replace(place, place + key)
    with pytest.raises(PolicyError) as refused:
        load_policy(text.encode(), "policy.yaml")
    (problem,) = refused.value.problems
    assert f"'{key.strip().split(':')[0]}' is not supported by this version yet" == problem.message
    assert text.split("\n").index(key.rstrip("\n")) + 1 == problem.line


@pytest.mark.parametrize("key", ["scope", "bytes", "text_length", "priority", "version"])
def test_later_conditions(key: str) -> None:
    """Conditions of later versions are told from misspelt ones."""
    with pytest.raises(PolicyError, match=f"routes\\[0\\].match.{key}: '{key}' is not supported by this version yet"):
        load_policy(POLICY.replace("tier: x", f"{key}: 1").encode(), "policy.yaml")


@pytest.mark.parametrize("protocol", LATER_PROTOCOLS)
def test_later_protocols(protocol: str) -> None:
    """Protocols of later versions are told from misspelt ones."""
    with pytest.raises(PolicyError, match=f"'{protocol}' is not supported by this version yet"):
        load_policy(POLICY.replace("triton-http", protocol).encode(), "policy.yaml")


def test_defaults() -> None:
    """What a policy need not say has a default."""
    document = load_policy(POLICY.encode(), "policy.yaml")
    backend = document.backends["triton"]
    assert ("least-request", 256) == (backend.balance, backend.max_in_flight)
    model = document.models["digits"]
    assert (30.0, {}) == (model.timeout, model.fallback)
    assert ("", 0.0) == (model.variants["fast"].version, model.variants["fast"].cost)
