"""A parent's questions to the store, asked by a worker."""

from __future__ import annotations

import msgspec

from gateway.rollout.words import Look, There, Write
from gateway.workers.relayed import RelayedPages

LOOK = Look("key", "parent", b"here", "line", 3, 17)
WRITE = Write("key", ("line", 3), "line", 4, b"page", b"units")
THERE = There(7.5, "line", 3, b"page", 17, b"units", {"parent": b"here"})


async def test_the_worker_is_asked_the_same_and_its_answer_is_the_same() -> None:
    """Also that something was not written."""
    asked: list[Look | Write] = []
    answers: list[object] = [THERE, True, False]

    async def worker(told: bytes) -> bytes:
        asked.append(msgspec.msgpack.decode(told, type=Look | Write))
        return msgspec.msgpack.encode(answers.pop(0))

    pages = RelayedPages(worker)
    assert [THERE, True, False] == [await pages.look(LOOK), await pages.write(WRITE), await pages.write(WRITE)]
    assert [LOOK, WRITE, WRITE] == asked


async def test_nobody_to_ask() -> None:
    """Nobody knows."""

    async def nobody(_: bytes) -> bytes:
        return b""

    assert [None, None] == [await RelayedPages(nobody).look(LOOK), await RelayedPages(nobody).write(WRITE)]
