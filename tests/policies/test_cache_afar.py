"""Hits that came from a store further away, which can be asked for once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.call import Answer, Cached, Call, Kept
from policies.local_store import LocalStore
from routing.cache.caching import Purge
from tests.policies.test_cache import MakeCall, Setting, coming_again, question, setting, status

__all__ = ["setting"]


class Elsewhere(LocalStore):
    """Is waited for; `meanwhile` happens then. Implements policies.keeping.Same, too."""

    seconds = 0.045

    def __init__(self, setting: Setting) -> None:
        super().__init__(1 << 20, lambda: setting.now)
        self.meanwhile: Callable[[], object] = lambda: None
        self.wanted: list[tuple[Kept, bool]] = []

    async def find(self, keys: Sequence[bytes]) -> Sequence[Kept | None]:  # type: ignore[override]
        self.meanwhile()
        return super().find(keys)

    def same(self, kept: Kept, generation: bytes) -> Elsewhere | None:  # type: ignore[override]
        self.wanted.append((kept, generation == self.generation))
        return self if generation == self.generation else None

    def open(self) -> bool:
        return True

    holds = open

    def ask(self, heard: Callable[[bool], None]) -> None:
        heard(True)


async def test_what_was_found_elsewhere_can_be_asked_for_once_more(setting: Setting, make_call: MakeCall) -> None:
    """If it is one entry, of a question that is known to come again."""
    store = setting.policy._store = Elsewhere(setting)
    call = question(make_call, [1])
    assert ["miss", "hit"] == [status(await setting.ask(call)) for _ in range(2)]
    assert [] == store.wanted
    found = (await setting.ask(coming_again(call))).cached
    assert found is not None
    assert (None, True) == (found.still, found.afar is not None)
    assert found.afar is not None
    assert (True, 60.0, 0.045) == (found.afar.open(), found.afar.fresh(setting.now), found.afar.seconds)
    ((kept, now),) = store.wanted
    assert (found.ttl, True) == (kept.until - setting.now, now)
    for rows, kind in (([2, 3], True), ([4], True), ([5, 6], False)):
        call = coming_again(question(make_call, rows, rows=kind))
        await setting.ask(call)
        found = (await setting.ask(call)).cached
        assert found is not None
        assert (len(rows) == 1 or not kind) is (found.afar is not None)


async def test_what_falls_while_it_is_asked_for_is_not_kept(setting: Setting, make_call: MakeCall) -> None:
    """The last stage's own answer does not come under the cascade's key, nor the cascade's under the fallen one's."""
    call, keys = question(make_call, [1]), setting.policy._keys

    async def turned(below: Call) -> Answer:
        keys.fall(frozenset() if keys.fallen else frozenset({("digits", "r", "e")}))
        return await setting.backend(below)

    for _ in range(2):
        assert Cached("miss", stored=False) == (await setting.policy(call, turned)).cached
    assert ["miss", "hit"] == [status(await setting.ask(call)) for _ in range(2)]


async def test_what_changes_while_it_is_waited_for(setting: Setting, make_call: MakeCall) -> None:
    """Is seen by who asks once more: its key was made before, and what was purged since must not be given."""
    store = setting.policy._store = Elsewhere(setting)
    call = coming_again(question(make_call, [1]))
    await setting.ask(call)

    def another_secret() -> None:
        setting.policy._keys.secret = b"s" * 32

    store.meanwhile = another_secret
    found = (await setting.ask(call)).cached
    assert found is not None
    assert found.afar is not None
    assert (False, None) == (found.afar.open(), found.afar.fresh(setting.now))
    store.meanwhile = lambda: None
    await setting.ask(call)
    store.meanwhile = lambda: store.purge(Purge(model="letters"), setting.now)
    found = (await setting.ask(call)).cached
    assert found == Cached("hit", 60.0)
    assert not store.wanted[-1][1]
