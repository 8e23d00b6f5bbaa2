"""What may stand behind a file's name, and what of it is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.configuration.files import read_file


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """Byte for byte, also by way of links, as Kubernetes mounts its files."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"a: \xff\r\n")
    (tmp_path / "link").symlink_to(path)
    assert b"a: \xff\r\n" == read_file(path) == read_file(tmp_path / "link")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe that nobody writes to, an endless device, a socket and a directory are named, and nobody waits for them."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(OSError, match="a pipe, socket or device, not a file") as refused:
                read_file(path)
            assert str(path) == refused.value.filename
    with pytest.raises(OSError, match="a directory, not a file"):
        read_file(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The system's own words, with the name."""
    with pytest.raises(FileNotFoundError) as refused:
        read_file(tmp_path / "none")
    assert str(tmp_path / "none") == str(refused.value.filename)


def test_size_is_bounded(tmp_path: Path) -> None:
    """The limit is what is read; one byte more is refused. A sparse terabyte costs nothing."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 2048)
    assert 2048 == len(read_file(path, 2048))
    with pytest.raises(OSError, match="larger than 1 KiB"):
        read_file(path, 1024)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="larger than 4096 KiB"):
        read_file(tmp_path / "sparse")
