"""`penstock serve` as its operators start and stop it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from gateway.auth.api_keys import load
from gateway.cli import main
from gateway.cli.serve import add_parser

POLICY = """version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""
PROCESS = """listen: {http: 127.0.0.1:PORT, grpc: 127.0.0.1:0, admin: 127.0.0.1:0}
auth: {anonymous: true, api_keys: null}
drain: {notice: 10ms}
"""


def run(*arguments: str) -> int:
    """The exit status of `penstock serve …`."""
    parser = argparse.ArgumentParser(prog="penstock")
    add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["serve", *arguments])
    status: int = parsed.run(parsed)
    return status


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Arguments for a gateway on a port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "gateway.yaml").write_text(PROCESS.replace("PORT", str(port)))
    (tmp_path / "policy.yaml").write_text(POLICY)
    return ["--config", str(tmp_path / "gateway.yaml"), "--policy", str(tmp_path / "policy.yaml")]


@pytest.mark.slow
def test_signals(files: list[str]) -> None:
    """SIGHUP reloads, SIGUSR2 is for workers, SIGTERM stops in order with status 0; standard output is the access log's."""
    command = [sys.executable, "-m", "gateway", "serve", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # The checks speak, too, when they like: nobody is behind this gateway.
        ready = next(line for line in process.stderr if "ready: http 127.0.0.1:" in line)
        with urllib.request.urlopen(f"http://{ready.split('http ')[1].split(',')[0]}/v2/health/live") as answer:
            assert 200 == answer.status
        process.send_signal(signal.SIGHUP)
        assert any("in force" in line for line in process.stderr)
        process.send_signal(signal.SIGUSR2)
        assert any("no workers to replace" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=20)
    said = [line for line in errors.splitlines() if "cannot be reached" not in line]
    assert (0, 2) == (process.returncode, len(said))
    assert "stopping: not ready, serves on for 0.01 s" in errors
    assert ["/v2/health/live"] == [json.loads(line)["path"] for line in out.splitlines()]


def test_a_file_with_a_mistake(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in either file is told with its line, status 1; nothing is started."""
    for path, text in ((files[1], "listne: {}"), (files[3], POLICY.replace("use: v", "use: w"))):
        good = Path(path).read_text()
        Path(path).write_text(text)
        assert 1 == run(*files)
        assert f"cannot start:\n{path}:" in capsys.readouterr().err
        Path(path).write_text(good)


def test_a_file_that_is_not_there(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file is named."""
    for index in (1, 3):
        missing = [*files[:index], "/none.yaml", *files[index + 1 :]]
        assert 1 == run(*missing)
        assert "cannot start: /none.yaml: No such file" in capsys.readouterr().err


def test_a_file_that_is_none(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory, or a pipe that nobody writes to, is named at once in each place."""
    os.mkfifo(tmp_path / "pipe")
    for index in (1, 3):
        for wrong, what in ((tmp_path, "a directory"), (tmp_path / "pipe", "a pipe, socket or device")):
            assert 1 == run(*files[:index], str(wrong), *files[index + 1 :])
            assert f"cannot start: {wrong}: {what}, not a file" in capsys.readouterr().err


def test_a_port_in_use(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """So is a port that somebody else has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        Path(files[1]).write_text(PROCESS.replace("PORT", str(port)))
        assert 1 == run(*files)
    message = capsys.readouterr().err
    assert f"{port}" in message
    assert "in use" in message


def test_a_key_file_that_is_not_there(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Keys that cannot be read keep it from starting; the message says how to make a first one, and that works."""
    keys = Path(files[1]).with_name("keys.yaml")
    Path(files[1]).write_text(PROCESS.replace("PORT", "0").replace("null", str(keys)))
    assert 1 == run(*files)
    message = capsys.readouterr().err
    assert f"cannot start:\n{keys}: cannot be read: No such file" in message
    command = message.splitlines()[-1].split()
    assert ["penstock", "keys", "new", "--subject", "NAME", "--file", str(keys)] == command
    assert 0 == main(command[1:])
    assert 1 == len(load(keys))


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help shows an example and the signals."""
    with pytest.raises(SystemExit) as ended:
        run("--help")
    text = capsys.readouterr().out
    assert 0 == ended.value.code
    assert "penstock serve --config config/gateway.yaml" in text
    assert "SIGHUP" in text
