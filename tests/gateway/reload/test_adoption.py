"""Tests of gateway.reload.adoption."""

from __future__ import annotations

import pytest

from gateway.configuration.integrity import sealed, unsealed
from gateway.configuration.load import load_policy
from gateway.reload.adoption import Standing, objections

SHORT = b"""version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants: {fast: {backend: triton, model: f}, accurate: {backend: triton, model: a}}
    routes: [{name: default, use: accurate}]
"""
LONG = SHORT + b"    fallback: {accurate: fast}\n"
JSON = b"""{"version": 1, "backends": {"b": {"protocol": "triton-http", "endpoints": ["127.0.0.1:8000"]}},
"models": {"digits": {"variants": {"v": {"backend": "b", "model": "f"}}, "routes": [{"name": "default", "use": "v"}]}}}"""
TESTS = b"tests: [{name: a, request: {model: digits}, expect: {use: accurate}}]\n"
CLOSED = b"---\n" + LONG + b"...\n"
SEALED = sealed(LONG, "")


def standing(text: bytes) -> Standing:
    """A policy as it is after loading."""
    return Standing(text, load_policy(text, "policy.yaml"))


def said(before: bytes, after: bytes) -> list[str]:
    """The objections, with lines."""
    return [problem.text("f") for problem in objections(standing(before), standing(after))]


def test_without_a_policy_in_force() -> None:
    """At start anything that can be used may be."""
    assert () == objections(None, standing(LONG))


@pytest.mark.parametrize("text", [SHORT, LONG, CLOSED, SEALED, unsealed(LONG, ""), LONG + TESTS, LONG.rstrip(), JSON])
def test_itself(text: bytes) -> None:
    """A policy may always be replaced by itself."""
    assert [] == said(text, text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SHORT, LONG),
        (LONG, SHORT.replace(b"8000", b"9000")),
        (LONG, CLOSED),
        (LONG, SEALED),
        (CLOSED, SEALED),
        (CLOSED, b"---\n" + SHORT + b"...\n"),
        (SEALED, sealed(SHORT, "")),
        (SEALED, unsealed(SHORT, "")),
        (unsealed(LONG, ""), CLOSED),
        (LONG, b"---\n" + SHORT + b"...\n"),
        (LONG, LONG + TESTS),
        (LONG + b"# the end\n", LONG),
        (LONG + TESTS, SHORT + TESTS),
        (LONG + TESTS, LONG + b"without: [tests]\n"),
        (LONG, JSON),
        (LONG.rstrip(), LONG),
    ],
)
def test_what_may_replace(before: bytes, after: bytes) -> None:
    """An edit is no accident: shorter text that differs elsewhere or says where it ends, a comment less, a seal renewed."""
    assert [] == said(before, after)


def test_cut_off() -> None:
    """The first bytes of the policy in force, with another meaning, are half a copy of it."""
    share = f"its {len(SHORT)} bytes are the first of the {len(LONG)} in force"
    assert [f"f:7: cut off: {share}; if that was meant, put --- before it and a line ... at its end"] == said(LONG, SHORT)


@pytest.mark.parametrize("after", [LONG.replace(b"8000", b"9000").rstrip(), SHORT.replace(b"8000", b"9000").rstrip()])
def test_a_last_line_without_its_end(after: bytes) -> None:
    """Who writes a line ends it: a document that differs before and stops within one may be cut off there."""
    why = "the file ends in the middle of a line, so it may be cut off"
    meant = "end its last line, or put --- before the document and a line ... at its end"
    assert [f"f:{after.count(10) + 1}: {why}: {meant}"] == said(LONG, after)


@pytest.mark.parametrize("before", [CLOSED, SEALED, unsealed(LONG, "")])
def test_end_lost(before: bytes) -> None:
    """What could not be cut off unseen is not replaced by what could."""
    message = "the policy in force ends with a line ..., this one does not: it may be half a file — did you mean '...'?"
    assert [f"f:8: {message}"] == said(before, LONG)


def test_seal_lost() -> None:
    """A seal does not get lost; whoever wants none says so."""
    meant = "seal it with `penstock policy seal`, or say by its --remove that no seal is wanted"
    assert [f"f:10: the policy in force is sealed, this one is not; {meant}"] == said(SEALED, CLOSED)


def test_tests_lost() -> None:
    """A policy without tests does not replace one with tests, unless it says that it does without."""
    message = "the policy in force has tests, this one has none; if that was meant, write without: [tests]"
    assert [f"f:1: tests: {message}"] == said(LONG + TESTS, LONG + b"# changed\n")


def test_all_at_once() -> None:
    """Every objection is told."""
    assert 2 == len(said(sealed(LONG + TESTS, ""), LONG))


def test_an_edited_file_that_ends_among_its_tests() -> None:
    """Cut after a line, it still loads: fewer of the same tests are told apart from other tests, or a document with ends."""
    three = b"tests:\n" + b"".join(b"- {name: t%d, request: {model: digits}, expect: {use: accurate}}\n" % n for n in range(3))
    two, other = three.rsplit(b"-", 1)[0], three.replace(b"t0", b"u0").rsplit(b"-", 1)[0]
    edited = LONG.replace(b"8000", b"9000")
    (why,) = said(LONG + three, edited + two)
    assert "the first 2 of the 3 in force, so it may be cut off" in why
    assert [] == said(LONG + three, edited + other)
    assert [] == said(LONG + three, b"---\n" + edited + two + b"...\n")
    assert [] == said(LONG + two, edited + three)
