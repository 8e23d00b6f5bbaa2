"""Tests of gateway.cli.policy.seal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gateway.cli.policy import add_parser
from gateway.configuration.integrity import Ends, ends, sealed
from gateway.configuration.load import version

POLICY = b"""# about
version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: a, use: fast}]
"""


def run(*arguments: str) -> int:
    """The exit status of `penstock policy seal …`."""
    parser = argparse.ArgumentParser(prog="penstock")
    add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["policy", "seal", *arguments])
    status: int = parsed.run(parsed)
    return status


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy that can be used, without any ends."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(POLICY)
    return path


def test_seal(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file gets its ends and the seal, and nothing else in it changes; once more leaves it untouched."""
    assert 0 == run(str(file))
    text = file.read_bytes()
    assert text.startswith(b"# about\n---\n" + POLICY.removeprefix(b"# about\n") + b"... # sha256 ")
    assert Ends.SEALED is ends(text, "")
    assert f"{file}: sealed, version {version(text)}\n" == capsys.readouterr().out
    before = file.stat()
    assert 0 == run(str(file))
    assert (before.st_ino, before.st_mtime_ns) == (file.stat().st_ino, file.stat().st_mtime_ns)


def test_seal_anew(file: Path) -> None:
    """After an edit the seal is made anew."""
    file.write_bytes(sealed(POLICY, "").replace(b"model: f", b"model: g"))
    assert 0 == run(str(file))
    assert sealed(POLICY.replace(b"model: f", b"model: g"), "") == file.read_bytes()


def test_remove(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The seal goes, and the closing line says so."""
    file.write_bytes(sealed(POLICY, ""))
    assert 0 == run("--remove", str(file))
    assert file.read_bytes().endswith(b"\n... # unsealed\n")
    assert ": unsealed, version " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"---\n" + POLICY, ":9: cut off: "),
        (POLICY.replace(b"use: fast", b"use: fats"), ":8: models.digits.routes[0].use: unknown variant 'fats'"),
        (POLICY + b"tests: [{name: b, request: {model: digits}, expect: {refused: forbidden}}]\n", ":9: tests[0]: "),
    ],
)
def test_mistakes(text: bytes, said: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with a mistake, or half a file, is not sealed and stays as it was."""
    file.write_bytes(text)
    assert 1 == run(str(file))
    assert text == file.read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert said in lines[0]
    assert "the file is left as it was" == lines[-1]


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For tools the same is one JSON object."""
    assert 0 == run(str(file), "--json")
    expected = {"file": str(file), "ok": True, "version": version(file.read_bytes()), "problems": []}
    assert expected == json.loads(capsys.readouterr().out)
    file.write_bytes(b"---\n")
    assert 1 == run(str(file), "--json")
    answer = json.loads(capsys.readouterr().out)
    assert (False, [1]) == (answer["ok"], [problem["line"] for problem in answer["problems"]])


def test_mode_stays(file: Path) -> None:
    """The file's mode is what it was."""
    file.chmod(0o640)
    assert 0 == run(str(file))
    assert 0o640 == file.stat().st_mode & 0o777
    assert [file] == list(file.parent.iterdir())


def test_a_link_stays(file: Path) -> None:
    """Behind a symbolic link the file itself is sealed."""
    link = file.parent / "link.yaml"
    link.symlink_to("policy.yaml")
    assert 0 == run(str(link))
    assert link.is_symlink()
    assert Ends.SEALED is ends(file.read_bytes(), "")


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, or is none, is wrong use: status 2, nothing on standard output."""
    assert 2 == run(str(tmp_path / "none.yaml"))
    assert 2 == run(str(tmp_path))
    captured = capsys.readouterr()
    assert "" == captured.out
    assert "No such file or directory" in captured.err
