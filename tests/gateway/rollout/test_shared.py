"""Gateways that share rollouts: one order of all counts, none of them twice, and what each does while the store is away."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from backends.errors import InferenceError
from gateway.rollout.leader import AwayError
from gateway.rollout.words import Page
from routing.match import RouteTable
from routing.rollout.tally import Batch, Tally
from tests.gateway.rollout.gates import ROLLING, TERMS, Gate, Store, counted, gates, running


async def test_one_rollout() -> None:
    """What one is told the other obeys; what either counts is evidence of both, and the audit log of each says who did it."""
    one, two = await gates(Store())
    assert ["alice", "penstock"] == [note.who for note in one.noted]
    assert one.noted == two.noted
    await one.round(counted(3, 4))
    await two.round(counted(5, 6))
    await one.round()
    assert one.rollout.evidence == two.rollout.evidence
    assert (8, 10) == one.rollout.evidence["error-rate"].looked
    assert "paused 0.5" == await two.act("pause", "lunch")
    assert "paused 0.5" == await one.round()
    assert "alice said pause: lunch" == one.noted[-1].text
    assert 2 == len((await one.leader.shown())[0].gateways)


async def test_all_warm_up() -> None:
    """A candidate that one gateway has not found fit has no weight at any."""
    store = Store()
    one, two = Gate(store), Gate(store)
    for gate in (one, two):
        await gate.round()
    await one.act("start")
    assert ["warming 0"] * 3 == [await one.round(seconds=0.1) for _ in range(3)]
    assert {"warming 0", "running 0.5"} == {await two.round(seconds=0.1) for _ in range(3)}


async def test_who_speaks_otherwise_is_not_heard() -> None:
    """A gateway of another version hinders nobody."""
    store = Store()
    store.present["later"] = 1e9, b"in other words"
    one, _ = await gates(store)
    assert "running 0.5" == await one.round(counted(1, 1))


async def test_the_evidence_of_all_takes_it_back_at_all() -> None:
    """In the next round of each; no one alone had enough. The verdict is counted once."""
    one, two = await gates(Store())
    assert "running 0.5" == await one.round(counted(6, 6, failed=5))
    assert "rolled-back 0" == await two.round(counted(6, 6, failed=6))
    assert "rolled-back 0" == await one.round()
    lines = [line for gate in (one, two) for each in gate.numbers.families() for line in each.lines() if "harmful" in line]
    assert 1 == len(lines)


async def test_who_was_second_reads_again() -> None:
    """Both write at once: neither's counts are lost."""
    store = Store()
    one, two = await gates(store)
    two.batch = counted(1, 2)
    store.between = [two]
    await one.round(counted(10, 20))
    await two.round()
    assert (10, 20) == one.rollout.evidence["error-rate"].looked  # the other's round had nothing in it but its time
    await two.round(counted(1, 2))
    assert (11, 22) == two.rollout.evidence["error-rate"].looked


@pytest.mark.parametrize("done", [True, False])
async def test_a_write_of_which_nobody_knows(done: bool) -> None:
    """Is found out about: its counts are taken in once."""
    store = Store()
    one, two = await gates(store)
    store.fails = [done]
    await one.round(counted(10, 20))
    await two.round(counted(1, 2))
    await one.round(counted(100, 200))
    await one.round()
    assert (111, 222) == one.rollout.evidence["error-rate"].looked


async def test_while_the_store_is_away() -> None:
    """Each keeps its weight, no step ends, and what was counted meanwhile counts when it is back."""
    store = Store()
    one, two = await gates(store)
    for gate in (one, two):
        await gate.round(counted(20, 20))
    store.away = True
    for _ in range(300):
        assert "running 0.5" == await one.round(counted(1, 1))
    assert "this gateway keeps its weight" in (await one.leader.shown())[0].away
    for verb in ("pause", "promote"):
        with pytest.raises(AwayError):
            await one.act(verb)
    store.away = False
    await one.round()
    assert (340, 340) == one.rollout.evidence["error-rate"].looked
    assert "" == (await one.leader.shown())[0].away


async def test_harm_while_the_store_is_away() -> None:
    """Who sees it gives the candidate nothing; all take it back when all know."""
    store = Store()
    one, two = await gates(store)
    store.away = True
    assert "running 0.5" == await one.round()
    assert "running 0" == await one.round(counted(20, 20, failed=20))
    assert "running 0" == await one.round()
    assert "harmful" in (await one.leader.shown())[0].away
    assert "running 0.5" == await two.round()
    store.away = False
    assert "rolled-back 0" == await one.round()
    assert "rolled-back 0" == await two.round()


async def test_a_person_takes_it_back_while_the_store_is_away() -> None:
    """It is obeyed here at once, and by all when they can hear of it."""
    store = Store()
    one, two = await gates(store)
    store.away = True
    assert "running 0" == await one.act("rollback", "wrong labels")
    assert "running 0" == await one.round()
    store.away = False
    assert "rolled-back 0" == await one.round()
    assert "rolled-back 0" == await two.round()
    assert "alice said rollback: wrong labels" == two.noted[-1].text


async def test_a_store_that_has_lost_everything() -> None:
    """Is told again how things stand; who comes first does it, and nothing moves."""
    store = Store()
    one, two = await gates(store)
    await one.round(counted(10, 20))
    await two.round()
    store.pages.clear()
    assert "running 0.5" == await two.round()
    assert "running 0.5" == await one.round(counted(1, 2))
    assert "running 0.5" == await two.round()
    assert (11, 22) == two.rollout.evidence["error-rate"].looked
    another = Gate(store)
    assert "running 0.5" == await another.round()
    assert [] == another.noted


async def test_a_store_that_has_fallen_behind() -> None:
    """A replica that takes over may not know of the rollback: whoever does says it again."""
    store = Store()
    one, two = await gates(store)
    before = dict(store.pages)
    await one.act("rollback")
    store.pages = before
    assert "rolled-back 0" == await one.round()
    assert "rolled-back 0" == await two.round()


async def test_sticky_units_are_known_to_all() -> None:
    """A unit's event counts once, at whichever gateway it comes first; also after the store has lost what it knew."""
    store = Store()
    sticky = replace(ROLLING, terms=replace(TERMS, sticky=True), definition="sticky")
    one, two = Gate(store, sticky), Gate(store, sticky)
    for gate in (one, two):
        await gate.round()
    await one.act("start")
    await running((one, two))

    def failing(*places: float) -> Batch:
        tally = Tally(TERMS.metrics, sticky=True)
        for place in places:
            tally.drew(place, 0.5)
            tally.saw(place, 0.5, [1])
        return tally.take()

    await one.round(failing(0.1, 0.9))
    await two.round(failing(0.1, 0.2))
    assert (1, 2) == two.rollout.evidence["error-rate"].happened
    store.pages.clear()
    await one.round(failing(0.2, 0.3))
    assert (1, 3) == one.rollout.evidence["error-rate"].happened  # that 0.2 was counted only the other knew
    await two.round(failing(0.2, 0.4))
    assert (1, 4) == two.rollout.evidence["error-rate"].happened


async def test_another_policy() -> None:
    """A gateway that goes by another policy gives the candidate nothing while others go by theirs, and begins when none does."""
    store = Store()
    one, two = await gates(store)
    edited = replace(ROLLING, definition="another")
    two.tables = {"digits": RouteTable("digits", (), rollouts=(edited,))}
    assert "pending 0" == await two.round()
    assert "another policy" in (await two.leader.shown())[0].away
    with pytest.raises(AwayError):
        await two.act("start")
    assert "running 0.5" == await one.round()
    one.tables = two.tables
    await one.round()
    await two.round()
    assert [("pending", 2)] * 2 == [(each.rollout.state, each.rollout.attempt) for each in (one, two)]


async def test_what_cannot_be() -> None:
    """Is refused by what all have come to, and changes nothing."""
    one, two = await gates(Store())
    await one.act("rollback")
    with pytest.raises(InferenceError, match="rolled-back cannot pause"):
        await two.act("pause")
    assert "warming 0" == await two.act("start")
    assert {2} == {each.rollout.attempt for each in (one, two) if await each.round()}


@pytest.mark.parametrize("field", ["page", "units", "step"])
async def test_a_page_that_makes_no_sense(field: str) -> None:
    """Moves nothing, and is said; all goes on when it does again."""
    store = Store()
    one, _ = await gates(store)
    ((key, (line, version, page, units)),) = store.pages.items()
    read = msgspec.msgpack.decode(page, type=Page)
    wrong = msgspec.msgpack.encode(replace(read, rollout=replace(read.rollout, step=7)))
    found = {"page": (b"nonsense", b""), "units": (page, b"nonsense"), "step": (wrong, b"")}[field]
    store.pages[key] = line, version + 1, *found
    assert "running 0.5" == await one.round()
    assert "the store is away" in (await one.leader.shown())[0].away
    store.pages[key] = line, version + 2, page, units
    assert "running 0.5" == await one.round()
    assert "" == (await one.leader.shown())[0].away
