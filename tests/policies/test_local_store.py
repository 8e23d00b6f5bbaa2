"""What this process keeps of answers: until their end, and not what an operator has thrown away."""

from __future__ import annotations

import pytest

from backends.inference import InferenceResponse, Tensors
from policies.call import Kept, Share
from policies.local_store import MOST_PURGES, LocalStore
from routing.cache.caching import Purge


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def kept(key: bytes, model: str = "digits", tag: str = "", asked: float = 100.0, *shares: tuple[str, str]) -> Kept:
    given = tuple(Share(variant, 1, "m", version) for variant, version in shares or (("fast", "1"),))
    response = InferenceResponse(model, "1", "", {}, Tensors(()))
    return Kept(key, response, given, "none", (), 0.1, asked=asked, until=asked + 10, tag=tag, size=100)


def test_what_is_kept_is_found_until_its_end() -> None:
    """Also when it is no longer fresh: that is for others to judge."""
    store = LocalStore(10_000, clock := Clock())
    one = kept(b"a")
    assert store.keep([one, kept(b"b")], ends=130.0)
    assert (200, [one, None]) == (store.size, store.find([b"a", b"c"]))
    clock.now = 129.9
    assert [one] == store.find([b"a"])
    clock.now = 130.0
    assert ([None], 100) == (store.find([b"a"]), store.size)
    assert not LocalStore(100, clock).keep([kept(b"a")], 200.0)


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (Purge(), []),
        (Purge(model="digits"), [b"other"]),
        (Purge(model="digits", variant="dear"), [b"fast", b"tagged", b"other"]),
        (Purge(model="digits", version="2"), [b"fast", b"tagged", b"other"]),
        (Purge(variant="fast", version="2"), [b"fast", b"dear", b"tagged", b"mixed", b"other"]),
        (Purge(tag="vision"), [b"fast", b"dear", b"mixed", b"other"]),
        (Purge(model="letters", tag="vision"), [b"fast", b"dear", b"tagged", b"mixed", b"other"]),
    ],
)
def test_a_purge_means_what_it_says(which: Purge, left: list[bytes]) -> None:
    """All that is said must hold; an answer of several variants is each one's."""
    store = LocalStore(10_000, Clock())
    entries = [
        kept(b"fast"),
        kept(b"dear", "digits", "", 100.0, ("dear", "2")),
        kept(b"tagged", tag="vision"),
        kept(b"mixed", "digits", "", 100.0, ("fast", "1"), ("dear", "2")),
        kept(b"other", "letters"),
    ]
    store.keep(entries, ends=1e9)
    store.purge(which, 100.5)
    assert left == [each.key for each in entries if store.find([each.key]) != [None]]


def test_what_was_asked_before_a_purge_is_not_kept_after_it() -> None:
    """Its answer may be the old version's; what is asked afterwards is kept as ever."""
    store = LocalStore(10_000, Clock())
    store.purge(Purge(model="digits"), 100.0)
    assert not store.keep([kept(b"a", asked=99.9)], 1e9)
    assert store.keep([kept(b"a", asked=100.1), kept(b"b", "letters", asked=99.9)], 1e9)
    assert [] == [each for each in store.find([b"a", b"b"]) if each is None]


def test_very_many_purges_are_one_of_everything() -> None:
    """The list of them is bounded; nothing that one of them meant is found again."""
    store = LocalStore(10_000, Clock())
    store.keep([kept(b"a")], 1e9)
    for number in range(MOST_PURGES + 1):
        store.purge(Purge(variant=f"v{number}"), 101.0 + number)
    assert ([None], 0) == (store.find([b"a"]), store.size)
    assert not store.keep([kept(b"a", asked=101.0 + MOST_PURGES)], 1e9)
    assert len(store._purges) <= 2
