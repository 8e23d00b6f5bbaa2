"""Looks at a file: what counts as changed, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.reload.policy_file import Mark, PolicyFile
from gateway.reload.watch import IN_PLACE, LOOK_SECONDS, Event, Sight, watch

T = TypeVar("T")
OLD = Mark(1, 10, 100, 1, 1)
RENAMED = Mark(1, 11, 100, 2, 2)
WRITTEN = Mark(1, 10, 50, 3, 3)
N, C, G = Event.NOTHING, Event.CHANGED, Event.GONE


def seen(*marks: Mark | None) -> list[Event]:
    sight = Sight(OLD)
    return [sight.look(mark) for mark in marks]


def test_what_stays_as_it_was_is_nothing() -> None:
    """However often it is looked at."""
    assert [N, N, N] == seen(OLD, OLD, OLD)


def test_another_file_counts_when_it_was_seen_twice() -> None:
    """Once; and the old one again is another one again."""
    assert [N, C, N, N, N, C] == seen(RENAMED, RENAMED, RENAMED, RENAMED, OLD, OLD)


def test_a_file_that_keeps_changing_is_waited_for() -> None:
    """Each new look begins anew."""
    another = RENAMED._replace(inode=12)
    assert [N, N, N, C] == seen(RENAMED, another, RENAMED, RENAMED)


def test_writing_in_place_is_waited_for_longer() -> None:
    """Whoever does it may pause in the middle."""
    more = WRITTEN._replace(size=60)
    assert [N] * IN_PLACE + [C, N] == seen(*[WRITTEN] * (IN_PLACE + 2))
    assert [N] * (2 * IN_PLACE) + [C] == seen(*[WRITTEN] * IN_PLACE, *[more] * (IN_PLACE + 1))


def test_a_change_that_is_taken_back_is_none() -> None:
    """Only the way it looks at the end counts."""
    assert [N, N, N] == seen(WRITTEN, OLD, OLD)


def test_a_file_is_gone_when_it_was_missed_twice() -> None:
    """Editors take files away for a moment. One that is gone is told once; back again it is read."""
    assert [N, N, N] == seen(None, OLD, OLD)
    assert [N, G, N, N, C] == seen(None, None, None, OLD, OLD)


async def test_the_watch_tells_of_a_change_and_of_the_end(tmp_path: Path) -> None:
    """A rename within two looks; each thing once."""
    looks = 0

    async def counted(work: Callable[[], T]) -> T:
        nonlocal looks
        looks += 1
        return work()

    file = PolicyFile(tmp_path / "policy.yaml", counted)
    file.path.write_text("one")
    happened: asyncio.Queue[str] = asyncio.Queue()

    async def changed() -> None:
        happened.put_nowait(file.path.read_text())

    def gone(error: OSError) -> None:
        happened.put_nowait(str(error.strerror))

    watching = asyncio.create_task(watch(file, Sight(file.first().mark), changed, gone))
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(file.path)
    async with asyncio.timeout(5):
        begin = asyncio.get_running_loop().time()
        assert "two" == await happened.get()
        assert asyncio.get_running_loop().time() - begin < 4 * LOOK_SECONDS
        file.path.unlink()
        assert "No such file or directory" == await happened.get()
        enough = looks + 4
        while looks < enough:  # noqa: ASYNC110 - nobody is told of a look that shows nothing
            await asyncio.sleep(LOOK_SECONDS)
    assert happened.empty()
    watching.cancel()
