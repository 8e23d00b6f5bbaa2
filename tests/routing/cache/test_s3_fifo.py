"""The cache's queues: bounded in bytes whatever comes, and what is asked for again stays through a flood of what is not."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing.cache.s3_fifo import S3Fifo


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def test_what_is_put_in_is_found() -> None:
    """Until it is removed; putting again replaces value and size."""
    kept: S3Fifo[str] = S3Fifo(1000)
    assert kept.put(b"a", "one", 10)
    assert kept.put(b"a", "two", 30)
    assert ("two", 30, 1) == (kept.get(b"a"), kept.size, len(kept))
    kept.remove(b"a")
    kept.remove(b"a")
    assert (None, 0, 0) == (kept.get(b"a"), kept.size, len(kept))


def test_a_giant_is_not_let_in() -> None:
    """One value gets an eighth of the room at most; a smaller one of the same key goes, for it is out of date."""
    kept: S3Fifo[str] = S3Fifo(800)
    kept.put(b"a", "small", 10)
    assert not kept.put(b"a", "giant", 101)
    assert (None, 0) == (kept.get(b"a"), kept.size)


def test_what_is_used_stays_through_a_scan() -> None:
    """A thousand values that nobody asks for twice push out none that was asked for."""
    kept: S3Fifo[int] = S3Fifo(100)
    for value in range(20):
        kept.put(number(value), value, 1)
    for value in [*range(20)] * 2:
        kept.get(number(value))
    for value in range(1000, 2000):
        kept.put(number(value), value, 1)
    assert [*range(20)] == [kept.get(number(value)) for value in range(20)]
    assert 100 == len(kept)


def test_a_ghost_comes_back_to_stay() -> None:
    """What was pushed out unused and is put in again soon goes to the main queue."""
    kept: S3Fifo[int] = S3Fifo(100)
    for value in range(101):
        kept.put(number(value), value, 1)
    assert kept.get(number(0)) is None
    kept.put(number(0), 0, 1)
    for value in range(200, 290):
        kept.put(number(value), value, 1)
    assert 0 == kept.get(number(0))


@given(st.lists(st.tuples(st.sampled_from(("put", "get", "remove")), st.integers(0, 30), st.integers(1, 12)), max_size=300))
def test_it_never_lies_and_never_grows_beyond_its_room(steps: list[tuple[str, int, int]]) -> None:
    """The bytes are those of what is in it, at most the room; what is found is what was put in last."""
    kept: S3Fifo[int] = S3Fifo(96)
    last: dict[int, tuple[int, int]] = {}
    for place, (what, name, size) in enumerate(steps):
        if what == "put":
            kept.put(number(name), place, size)
            last[name] = (place, size)
        elif what == "remove":
            kept.remove(number(name))
            last.pop(name, None)
        else:
            found = kept.get(number(name))
            assert found is None or last[name][0] == found
        inside = {int.from_bytes(key, "big") for key in kept}
        assert sum(last[each][1] for each in inside) == kept.size <= 96
        assert len(inside) == len(kept)
    kept.clear()
    assert (0, 0) == (kept.size, len(kept))


def test_it_finds_more_than_lru_where_some_things_are_popular() -> None:
    """On requests by Zipf's law, with room for a twentieth of all there is, it finds at least as many as LRU."""
    names = np.random.default_rng(1).zipf(1.1, 60_000) % 20_000
    kept: S3Fifo[int] = S3Fifo(1000)
    recent: OrderedDict[int, None] = OrderedDict()
    ours = lru = 0
    for name in names.tolist():
        if kept.get(number(name)) is not None:
            ours += 1
        else:
            kept.put(number(name), 0, 1)
        if name in recent:
            lru += 1
            recent.move_to_end(name)
        else:
            recent[name] = None
            if len(recent) > 1000:
                recent.popitem(last=False)
    assert ours > lru
