"""Who is cut off when answers that nobody takes would fill the memory."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.edge.backlog import Backlog
from gateway.edge.limits import Limits
from tests.gateway.edge.conftest import Place


class Unread:
    """A client with so many bytes waiting."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.cut = False

    def unsent(self) -> int:
        return self.waiting

    def abandon(self) -> None:
        self.cut = True


def test_who_waited_longest_goes_first(caplog: pytest.LogCaptureFixture) -> None:
    """Just as many as it takes, and the log says how many."""
    backlog, readers = Backlog(100), [Unread(40) for _ in range(4)]
    for reader in readers:
        backlog.add(reader, 40)
    assert [True, True, False, False] == [reader.cut for reader in readers]
    assert ["1 slow readers", "1 slow readers"] == [record.getMessage()[:14] for record in caplog.records]


def test_who_reads_is_let_be() -> None:
    """Only what really waits counts, however much was written."""
    backlog, fast, slow = Backlog(100), Unread(0), Unread(60)
    backlog.add(slow, 60)
    for _ in range(50):
        backlog.add(fast, 90)
    assert (False, False) == (slow.cut, fast.cut)


def test_a_new_answer_begins_a_new_wait() -> None:
    """A client that took its first answer stands behind those who did not."""
    backlog, first, second = Backlog(100), Unread(50), Unread(50)
    backlog.add(first, 50)
    backlog.add(second, 50)
    backlog.add(first, 50)
    assert (False, False) == (first.cut, second.cut)
    backlog.add(Unread(10), 10)
    assert (False, True) == (first.cut, second.cut)


def test_one_large_answer_may_wait(caplog: pytest.LogCaptureFixture) -> None:
    """What was written last is not cut off, even alone over the bound."""
    reader = Unread(500)
    with caplog.at_level(logging.WARNING):
        Backlog(100).add(reader, 500)
    assert (False, []) == (reader.cut, caplog.records)


async def test_slow_readers_on_the_wire(place: Place) -> None:
    """Readers that take nothing are cut off beyond the bound, oldest first; one who reads gets all of it."""
    _, connect = await place.start(Limits(unsent=1, write_timeout=60.0))
    probe, *silent = [await connect() for _ in range(4)]
    for client in silent:
        client.send(b"GET /big?20000000 HTTP/1.1\r\nHost: h\r\n\r\n")
        await probe.turns(10)
    reading = await connect()
    assert 20_000_000 == len((await reading.ask(b"GET /big?20000000 HTTP/1.1\r\nHost: h\r\n\r\n")).body)
    await probe.until(lambda: place.listeners[0].connections == 2)
    for client in silent:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.reply()
