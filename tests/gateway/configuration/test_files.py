"""What may stand behind a file's name, and what of it is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.configuration.files import read_file, replace_file


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


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Who has the old file open reads on in it; mode and owner stay, and nothing is left beside it."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"old")
    path.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    before = path.stat()
    with path.open("rb") as reading:
        replace_file(path, b"new")
        assert b"old" == reading.read()
    after = path.stat()
    assert b"new" == path.read_bytes()
    assert before.st_ino != after.st_ino
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    assert [path] == list(tmp_path.iterdir())


def test_a_new_file_is_its_owners(tmp_path: Path) -> None:
    """What was not there before, nobody else may read."""
    replace_file(tmp_path / "new", b"x")
    assert 0o600 == (tmp_path / "new").stat().st_mode & 0o777


def test_behind_a_link_the_file_is_replaced(tmp_path: Path) -> None:
    """The link stays and leads to the new content."""
    (tmp_path / "policy.yaml").write_bytes(b"old")
    (tmp_path / "link").symlink_to("policy.yaml")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert b"new" == (tmp_path / "policy.yaml").read_bytes()


def test_what_cannot_be_replaced_stays(tmp_path: Path) -> None:
    """When it fails nothing is changed and nothing left behind."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "folder", b"new")
    assert [tmp_path / "folder"] == list(tmp_path.iterdir())
