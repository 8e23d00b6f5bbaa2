"""The `penstock` command as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """It says which one it is."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert 0 == ended.value.code
    assert f"penstock {__version__}\n" == capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a few words."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert 0 == ended.value.code
    text = capsys.readouterr().out
    assert [] == [command for command in ("serve", "policy", "keys") if f"\n    {command} " not in text]


@pytest.mark.parametrize("words", ["", "serve", "policy", "policy check", "keys", "keys new", "keys hash"])
def test_every_help_shows_an_example(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the command, its help ends with a line to copy, and that is status 0."""
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--help"])
    assert 0 == ended.value.code
    examples = capsys.readouterr().out.partition("\nexample")[2]
    assert f"penstock {words}" in examples


@pytest.mark.parametrize("arguments", [[], ["sevre"], ["--config", "x"], ["keys"]])
def test_used_wrongly(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense is status 2, and the usage goes to standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert (2, "") == (ended.value.code, captured.out)
    assert "usage: penstock" in captured.err


def test_the_command_s_own_status_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    """What a command returns is what the process exits with."""
    assert 2 == main(["policy", "check", "/none.yaml"])
    assert "/none.yaml" in capsys.readouterr().err


def test_a_reader_that_has_enough() -> None:
    """`penstock … | head` ends without a word, and not with status 0."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gateway", "policy", "schema"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=30)
    os.close(writing)
    assert (1, b"") == (ended.returncode, ended.stderr)


def test_a_full_disk() -> None:
    """What cannot be written is said, and is not status 0 nor a traceback."""
    command = [sys.executable, "-m", "gateway", "policy", "schema"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=30, text=True)
    assert (2, "penstock: the output cannot be written: No space left on device\n") == (ended.returncode, ended.stderr)


def test_a_terminal_without_utf8() -> None:
    """Signs that it does not have are replaced."""
    command = [sys.executable, "-m", "gateway", "policy", "explain", "--model", "digits"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, capture_output=True, timeout=30, text=True, env=environment)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert "? default" in ended.stdout
