"""The policy's file on a real file system: marks, trust, and writing it back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.aside import here
from gateway.reload.policy_file import Mark, PolicyFile, Reading


@pytest.fixture
def file(tmp_path: Path) -> PolicyFile:
    """A file that says `one`."""
    (tmp_path / "policy.yaml").write_text("one")
    return PolicyFile(tmp_path / "policy.yaml", here)


def swapped(path: Path, name: str) -> None:
    """Has a link that is there already point to `name`, as Kubernetes does: at once."""
    (made := path.with_name("made")).symlink_to(name)
    made.replace(path)


async def test_its_mark_follows_every_way_of_changing_it(file: PolicyFile, tmp_path: Path) -> None:
    """Renaming over it, writing in place, another mode; and a link on the way that is swapped."""
    marks = [await file.mark()]
    (tmp_path / "new").write_text("one")
    (tmp_path / "new").replace(file.path)
    marks.append(await file.mark())
    file.path.write_text("three")
    marks.append(await file.mark())
    file.path.chmod(0o600)
    marks.append(await file.mark())
    assert 4 == len(set(marks))
    assert all(isinstance(mark, Mark) for mark in marks)
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "policy.yaml").write_text("same")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "link").symlink_to("..data/policy.yaml")
    linked = PolicyFile(tmp_path / "link", here)
    before = await linked.mark()
    swapped(tmp_path / "..data", "v2")
    assert before != await linked.mark()


async def test_a_mark_that_cannot_be_had_says_why(file: PolicyFile) -> None:
    """It is gone."""
    file.path.unlink()
    mark = await file.mark()
    assert isinstance(mark, FileNotFoundError)


async def test_what_is_read_carries_its_mark(file: PolicyFile) -> None:
    """The one by which a later look knows that nothing has changed."""
    reading = await file.read()
    assert (b"one", await file.mark(), os.geteuid(), False, False) == (
        reading.text,
        reading.mark,
        reading.owner,
        reading.open_to_all,
        reading.torn,
    )


def inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def refusal(file: PolicyFile, reading: Reading) -> str:
    try:
        file.trust(reading)
    except OSError as error:
        return str(error.strerror)
    return ""


def test_who_may_have_written_it(file: PolicyFile) -> None:
    """Root, the gateway's own user and whoever owned it at the start; nobody else, and never everybody."""
    first = file.first()
    mine = os.geteuid()
    assert [""] * 2 == [refusal(file, replace(first, owner=owner)) for owner in (0, mine)]
    assert "belongs to user 54321, who is not" in refusal(file, replace(first, owner=54321))
    assert "may be written by everybody: chmod o-w it" == refusal(file, replace(first, open_to_all=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_at_the_start_may_go_on_changing_it(file: PolicyFile) -> None:
    """Whoever that is."""
    os.chown(file.path, 54321, -1)
    assert "" == refusal(file, file.first())
    assert "54322" in refusal(file, replace(file.first(), owner=54322))


def test_at_the_start_too_nobody_else_may_write_it(file: PolicyFile) -> None:
    """Else whoever wants could change what the next start takes."""
    file.path.chmod(0o646)
    with pytest.raises(PermissionError, match="may be written by everybody"):
        file.first()


async def test_writing_keeps_the_mode_and_what_nobody_else_has(file: PolicyFile, tmp_path: Path) -> None:
    """A copy of what is written over is kept if it was never in force; else the history has it."""
    file.path.chmod(0o640)
    assert "" == await file.write(b"two", lambda text: text == b"one")
    assert (b"two", 0o640, [file.path]) == (
        file.path.read_bytes(),
        file.path.stat().st_mode & 0o777,
        inside(tmp_path),
    )
    note = await file.write(b"three", lambda text: text == b"one")
    assert f"what stood in {file.path} and never was in force is kept as {file.path}.replaced" == note
    assert [b"three", b"two"] == [file.path.read_bytes(), (tmp_path / "policy.yaml.replaced").read_bytes()]


async def test_a_file_that_says_it_already_is_left_alone(file: PolicyFile) -> None:
    """Nothing looks changed to anybody."""
    mark = await file.mark()
    assert "" == await file.write(b"one", lambda _: False)
    assert mark == await file.mark()


async def test_a_file_that_is_gone_is_written_anew(file: PolicyFile) -> None:
    """A rollback brings it back."""
    file.path.unlink()
    assert "" == await file.write(b"one", lambda _: False)
    assert b"one" == file.path.read_bytes()


async def test_where_it_cannot_be_written_nothing_changes(file: PolicyFile, tmp_path: Path) -> None:
    """A link, a file that everybody may write, a folder in its place: the answer says why."""
    (tmp_path / "link").symlink_to(file.path)
    said = await PolicyFile(tmp_path / "link", here).write(b"two", lambda _: True)
    assert f"{tmp_path / 'link'} was not written (it is a symbolic link): in force until it changes or is reloaded" == said
    file.path.chmod(0o666)
    assert "(may be written by everybody: chmod o-w it)" in await file.write(b"two", lambda _: True)
    assert b"one" == file.path.read_bytes()
    assert "(a directory, not a file)" in await PolicyFile(tmp_path, here).write(b"two", lambda _: True)
