"""The audit log: whole lines, a bounded size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.reload.audit_log import MAX_BYTES, MAX_LINE, Change, append

CHANGE = Change("2026-11-21T09:00:00.000Z", "alice", "api", "rollback", "aaa", "bbb", "ok")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "audit.jsonl"


def test_each_change_is_a_line(path: Path) -> None:
    """When, who, by what way, what, before, after, and what came of it; for this user alone."""
    append(path, CHANGE)
    append(path, Change("t", "file", "file", "reload", "bbb", "bbb", "refused", "ccc", "policy.yaml:1: no\n"))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    expected = {"who": "alice", "via": "api", "what": "rollback", "before": "aaa", "after": "bbb", "result": "ok"}
    assert {"time": "2026-11-21T09:00:00.000Z", **expected} == first
    assert ("refused", "ccc", "policy.yaml:1: no\n") == (second["result"], second["offered"], second["error"])
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_line_that_a_killed_process_began_spoils_no_other(path: Path) -> None:
    """The next begins on a line of its own."""
    append(path, CHANGE)
    with path.open("ab") as file:
        file.write(b'{"time":"20')
    append(path, CHANGE)
    lines = path.read_text().splitlines()
    assert (3, lines[0], '{"time":"20') == (len(lines), lines[2], lines[1])


def test_the_size_is_bounded(path: Path) -> None:
    """A full file becomes the one before, which is then gone."""
    for before in ("oldest", "older"):
        path.write_text(before + "x" * MAX_BYTES + "\n")
        append(path, CHANGE)
        assert path.with_name("audit.jsonl.1").read_text().startswith(before)
        assert 1 == len(path.read_text().splitlines())


def test_a_line_is_bounded(path: Path) -> None:
    """However long the reason of a refusal is."""
    append(path, Change("t", "file", "file", "reload", "a", "a", "refused", "c", "\n" * MAX_LINE))
    assert len(path.read_bytes()) < MAX_LINE


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Whoever could write the folder must not choose what is written to."""
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        append(path, CHANGE)
    assert [path] == list(tmp_path.iterdir())
