"""Tests of gateway.cli.policy."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from gateway.cli.policy import add_parser
from gateway.configuration.integrity import sealed
from gateway.configuration.load import version

POLICY = """---
version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: a, use: fast}]
...
"""


def run(*arguments: str) -> int:
    """The exit status of `penstock policy …`."""
    parser = argparse.ArgumentParser(prog="penstock")
    add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["policy", *arguments])
    status: int = parsed.run(parsed)
    return status


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A policy that can be used."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A policy with two mistakes."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("use: fast", "use: fats").replace("backends:", "limits: []\nbackends:"))
    return path


def test_good(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that can be used is said to be, with its version and size; the status is 0."""
    assert 0 == run("check", str(good))
    assert f"{good}: ok, version {version(POLICY.encode())}: 1 backend, 1 model, 1 route\n" == capsys.readouterr().out


def test_bad(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mistake is one line with file and line; the status is 1."""
    assert 1 == run("check", str(bad))
    assert [
        f"{bad}:3: limits: the list is empty; it needs at least one entry",
        f"{bad}:9: models.digits.routes[0].use: unknown variant 'fats' — did you mean 'fast'?",
        "2 problems; the policy cannot be used",
    ] == capsys.readouterr().out.splitlines()


def test_json(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For tools the same is one JSON object."""
    assert 0 == run("check", "--json", str(good))
    expected = {"file": str(good), "ok": True, "version": version(POLICY.encode()), "problems": [], "notes": []}
    assert expected == json.loads(capsys.readouterr().out)


def test_open(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That nothing would show whether the file is whole is worth a note, and no mistake."""
    good.write_text(POLICY.removeprefix("---\n").removesuffix("...\n"))
    assert 0 == run("check", str(good))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{good}: ok, version ")
    assert [
        "note: the file does not begin with --- and end with ...: a copy of it that is cut off could be taken for the whole"
    ] == lines[1:]
    assert 0 == run("check", "--json", str(good))
    assert ["note: " + note for note in json.loads(capsys.readouterr().out)["notes"]] == lines[1:]


def test_a_file_that_everybody_may_write(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the policy says can be used; that the gateway will not take it from there is said too."""
    good.chmod(0o666)
    assert 0 == run("check", str(good))
    note = f"note: everybody may write this file, so the gateway does not take it: chmod o-w {good}"
    assert [note] == capsys.readouterr().out.splitlines()[1:]


def test_cut_off(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of half a file is said that it is half, and not what the missing half would have held."""
    good.write_text(POLICY[:-20])
    assert 1 == run("check", str(good))
    cut = "cut off: a file that begins with --- ends with a line that is just ..., and this one does not"
    assert [f"{good}:8: {cut}", "1 problem; the policy cannot be used"] == capsys.readouterr().out.splitlines()


def test_edited_since_it_was_sealed(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A seal that does not fit any more hides no mistake."""
    bad.write_bytes(sealed(bad.read_bytes(), "").replace(b"model: f", b"model: g"))
    assert 1 == run("check", str(bad))
    assert [3, 9, 10] == [int(line.split(":")[1]) for line in capsys.readouterr().out.splitlines()[:-1]]


def test_its_own_tests(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document's tests are run; one that fails is a problem at its line."""
    tests = "tests: [{name: default, request: {model: digits}, expect: {%s}}]\n..."
    good.write_text(POLICY.replace("...", tests % "use: fast"))
    assert 0 == run("check", str(good))
    assert capsys.readouterr().out.endswith(": 1 backend, 1 model, 1 route, 1 test\n")
    good.write_text(POLICY.replace("...", tests % "refused: forbidden"))
    assert 1 == run("check", str(good))
    assert f"{good}:9: tests[0]: " in capsys.readouterr().out


def test_json_of_a_bad_one(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Problems are objects with path, line, column, message and suggestion."""
    assert 1 == run("check", str(bad), "--json")
    answer = json.loads(capsys.readouterr().out)
    assert not answer["ok"]
    assert {
        "path": "models.digits.routes[0].use",
        "line": 9,
        "column": 24,
        "message": "unknown variant 'fats'",
        "suggestion": "fast",
    } == answer["problems"][1]


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, or is a directory, is wrong use: status 2, nothing on standard output."""
    assert 2 == run("check", str(tmp_path / "none.yaml"))
    assert 2 == run("check", str(tmp_path))
    captured = capsys.readouterr()
    assert "" == captured.out
    assert "No such file or directory" in captured.err


def test_a_pipe(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy may come out of another program, as with `policy check <(generate)`."""
    reading, writing = os.pipe()
    os.write(writing, good.read_bytes())
    os.close(writing)
    try:
        assert 0 == run("check", f"/dev/fd/{reading}")
    finally:
        os.close(reading)
    assert "ok, version" in capsys.readouterr().out


def test_a_device_that_never_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """No more is read than a policy may have."""
    assert 1 == run("check", "/dev/zero")
    assert "too large" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("check",), ("chekc", "x"), ("check", "--jsn", "x")])
def test_used_wrongly(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense ends with status 2."""
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert 2 == ended.value.code
    assert capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help shows an example."""
    with pytest.raises(SystemExit) as ended:
        run("check", "--help")
    assert 0 == ended.value.code
    assert "penstock policy check config/policy.yaml" in capsys.readouterr().out
