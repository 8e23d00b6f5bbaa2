"""What becomes of clients that do not read, seen by one connection on a transport whose buffer is what the test says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.edge import kernel
from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.shared import Shared
from tests.gateway.edge.conftest import Recorder


class Full(asyncio.Transport):
    """Nobody reads at its other end."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.waiting, self.aborted = 0, False

    def write(self, data: Any) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def connected(shared: Shared) -> tuple[Connection, Full]:
    connection, transport = Connection(shared), Full()
    connection.connection_made(transport)
    return connection, transport


async def test_small_answers_count_as_unsent_when_the_client_is_stuffed() -> None:
    """However many they were: who has waited longest goes."""
    shared = Shared(Recorder(), Limits(unsent=100_000))
    (first, longest), (second, last) = connected(shared), connected(shared)
    for connection, transport in ((first, longest), (second, last)):
        transport.write(bytes(70_000))
        connection.pause_writing()
    assert (True, False) == (longest.aborted, last.aborted)


async def test_who_reads_nothing_gains_no_time_by_asking_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken counts, whatever was written since."""
    monkeypatch.setattr(kernel, "balance", lambda _: 0)
    connection, transport = connected(Shared(Recorder(), Limits(write_timeout=2.0)))
    for second in range(3):
        transport.write(b"an answer")
        assert not transport.aborted
        connection.tick(100.0 + second)
    assert transport.aborted
