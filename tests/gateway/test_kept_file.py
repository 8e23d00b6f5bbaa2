"""A file that is always whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.aside import here
from gateway.kept_file import load, store, stored

T = TypeVar("T")


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    """In a folder that is made for it; nobody else may read it, and nothing else is left."""
    path = tmp_path / "new" / "state"
    assert load(path, list[int], "…") is None
    store(path, [1, 2])
    store(path, [3])
    assert [3] == load(path, list[int], "…")
    assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)
    assert [path] == list(path.parent.iterdir())


def test_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is put aside, and the log says what follows of that."""
    path = tmp_path / "state"
    path.write_bytes(b"\xc1")
    assert load(path, list[int], "all begins anew") is None
    assert "all begins anew" in caplog.text
    assert [tmp_path / "state.damaged"] == list(tmp_path.iterdir())


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """Raises, and what was there stays."""
    path = tmp_path / "state"
    store(path, [1])
    (tmp_path / "state.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        store(path, [2])
    assert [1] == load(path, list[int], "…")


async def test_whoever_keeps_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When it cannot be written, or that takes too long, the log says so of what."""

    async def hangs(work: Callable[[], T]) -> T:
        await asyncio.Event().wait()
        return work()

    path = tmp_path / "state"
    assert await stored(path, [1], "what was told", here, 1.0)
    assert not await stored(path, [2], "what was told", hangs, 0.0)
    assert "does not answer; what was told" in caplog.text
    assert not await stored(path / "below", [2], "what was told", here, 1.0)
    assert "what was told cannot be written" in caplog.text
    assert [1] == load(path, list[int], "…")
