"""Tests of gateway.review.report."""

from __future__ import annotations

from pathlib import Path

from gateway.configuration.integrity import sealed
from gateway.review.report import report

POLICY = b"""version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: a, use: fast}]
"""
CLOSED = b"---\n" + POLICY + b"...\n"
FAILING = b"tests: [{name: a, request: {model: digits}, expect: {refused: forbidden}}]\n"


def test_nothing_to_say() -> None:
    """A whole policy without mistakes is its document."""
    for text in (CLOSED, sealed(CLOSED, "")):
        found = report(text, "f")
        assert found.document is not None
        assert ((), ()) == (found.problems, found.notes)


def test_notes() -> None:
    """A file that does not say where it ends can be used, and a note says what that risks."""
    found = report(POLICY, "f")
    assert found.document is not None
    assert ((), 1) == (found.problems, len(found.notes))


def test_cut_off() -> None:
    """Half a file is that and nothing else."""
    assert ["cut off"] == [problem.message[:7] for problem in report(CLOSED[:-10], "f").problems]


def test_a_wrong_seal_hides_nothing() -> None:
    """Beside a seal that does not fit, the mistakes of the document are told, its failing tests too, in the order of lines."""
    text = sealed(CLOSED, "")
    edited = report(text.replace(b"model: f", b"model: g"), "f")
    assert [9] == [problem.line for problem in edited.problems]
    assert edited.document is not None
    assert [8, 9] == [problem.line for problem in report(text.replace(b"use: fast", b"use: fats"), "f").problems]
    assert [9, 10] == [problem.line for problem in report(text.replace(b"...", FAILING + b"..."), "f").problems]


def test_failing_tests() -> None:
    """A document whose own tests fail cannot be used."""
    found = report(POLICY + FAILING, "f")
    assert (None, [8]) == (found.document, [problem.line for problem in found.problems])


def test_files_that_the_policy_names(tmp_path: Path) -> None:
    """A prompt router that is not beside the policy is one of its mistakes."""
    routers = b'    routers: {r: {file: r.json, sha256: "' + b"a" * 64 + b'", input: text}}\n'
    route = b"{name: hard, match: {prompt: {r: {below: 0.5}}}, use: fast}, {name: a"
    text = CLOSED.replace(b"    routes:", routers + b"    routes:").replace(b"{name: a", route)
    (problem,) = report(text, str(tmp_path / "policy.yaml")).problems
    assert ("models.digits.routers.r.file", 8) == (problem.path, problem.line)
    assert f"{tmp_path / 'r.json'}: No such file or directory" == problem.message
    (tmp_path / "r.json").write_bytes(b"another")
    (problem,) = report(text, str(tmp_path / "policy.yaml")).problems
    assert "another content than the policy's sha256 says" in problem.message
