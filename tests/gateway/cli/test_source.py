"""Documents named on a command line."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli.source import read
from gateway.configuration.files import MAX_BYTES


def test_files_and_pipes(tmp_path: Path) -> None:
    """A file's bytes, or what a pipe gives; no more than one byte too many."""
    (tmp_path / "a").write_bytes(b"abc")
    assert b"abc" == read(str(tmp_path / "a"))
    (tmp_path / "large").write_bytes(bytes(MAX_BYTES + 5))
    assert MAX_BYTES + 1 == len(read(str(tmp_path / "large")))
    ours, theirs = os.pipe()
    os.write(theirs, b"piped")
    os.close(theirs)
    assert b"piped" == read(f"/dev/fd/{ours}")
    os.close(ours)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is what is piped into the command."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"said")))
    assert b"said" == read("-")


def test_what_is_not_there(tmp_path: Path) -> None:
    """The system's own error."""
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "none"))
