"""Requests that come again to the byte: answered unread while nothing has changed, and read once anything has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import pytest

from tests.gateway.fronts.test_shortcut import BASE, EVENTS, ROWS, STEADY, Twins, close, same, twins
from tests.gateway.fronts.twins import Asked, Gateway

BYTES = changed(BASE, headers={"user-agent": "one", "x-odd": "0"})  # without anything that is another request's each time


async def known(pair: Twins, asked: Asked = BYTES) -> None:
    """From the third on nothing of it is read."""
    found = []
    for _ in range(6):
        await same(pair, asked)
        found.append(pair[0].unread)
    assert [False] * 5 + [True] == found


@pytest.mark.parametrize("policy", [STEADY, ROWS])
async def test_the_same_bytes_are_not_read_again(policy: Any) -> None:
    """And each of their answers has an id and a record of its own."""
    pair = twins(policy)
    await known(pair)
    for _ in range(3):
        await same(pair, BYTES)
        assert pair[0].unread
    assert len(pair[0].records) == len({record.request_id for record in pair[0].records})
    await same(pair, changed(BYTES, waited=100.0))
    assert not pair[0].unread
    await close(pair)


@pytest.mark.parametrize("event", EVENTS)
async def test_what_has_changed_meanwhile_is_noticed(event: Callable[[Gateway], None]) -> None:
    """The next one is read."""
    pair = twins()
    await known(pair)
    for gateway in pair:
        event(gateway)
    await same(pair, BYTES)
    assert not pair[0].unread
    await close(pair)
