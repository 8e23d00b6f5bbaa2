"""Whatever is lost between gateways and their store: no count twice, and the promise of one gateway holds for three."""

from __future__ import annotations

import math
import random

import pytest
from msgspec.structs import replace

from routing.rollout.rollout import memory, observe
from routing.rollout.tally import Tally
from tests.faults.figures import LONG
from tests.gateway.rollout.gates import ROLLING, TERMS, Gate, Store, counted, gates, running


async def test_any_faults() -> None:
    """Whatever is lost on the way, and whoever is killed: no count twice, and none is lost of gateways that live."""
    for seed in range(20):
        chance, store = random.Random(seed), Store()
        several = await gates(store, 3)
        told = 0
        for _ in range(60):
            gate = chance.choice(several)
            store.away = chance.random() < 0.2
            store.fails = [chance.random() < 0.5] if chance.random() < 0.3 else []
            others = [each for each in several if each is not gate]
            store.between = [chance.choice(others)] if chance.random() < 0.2 and not store.away else []
            number = chance.randrange(5)
            told += number
            await gate.round(counted(number, number), seconds=0.1)
        store.away, store.fails = False, []
        for gate in 3 * several:
            await gate.round(seconds=0.1)
        assert {(told, told)} == {gate.rollout.evidence["error-rate"].looked for gate in several}, seed


@pytest.mark.skipif(not LONG, reason="400 rollouts, 7 s of CPU: part of `make proofs`")
@pytest.mark.slow
async def test_three_gateways_keep_the_promise_of_one() -> None:
    """Clients that always fail ask whichever gateway: an unchanged candidate goes in one of a hundred rollouts at most,
    though writes are lost and the store is away and forgets; by what each gateway counted for itself many more would go."""
    taken_back, naive, runs = 0, 0, 400
    for seed in range(runs):
        chance, store = random.Random(seed), Store()
        several = [Gate(store, replace(ROLLING, terms=replace(TERMS, sticky=True), definition="sticky")) for _ in range(3)]
        for gate in several:
            await gate.round()
        await several[0].act("start")
        await running(several)
        clients = [chance.random() for _ in range(60)]
        failing = [place for place in clients if chance.random() < 0.4]
        tallies = [Tally(TERMS.metrics, sticky=True) for _ in several]
        alone, fooled = [gate.rollout for gate in several], False
        memories = [memory(rollout) for rollout in alone]
        for _ in range(90):
            index = chance.randrange(3)
            for _ in range(4):
                place = chance.choice(clients)
                tallies[index].drew(place, 0.5)
                tallies[index].saw(place, 0.5, [int(place in failing)])
            batch = tallies[index].take()
            alone[index] = observe(alone[index], batch, memories[index])
            odds = sum(each.evidence["error-rate"].fortune for each in alone if each.evidence)
            fooled = fooled or odds >= math.log(1 / TERMS.alpha)
            store.away = chance.random() < 0.1
            store.fails = [chance.random() < 0.5] if chance.random() < 0.1 else []
            if chance.random() < 0.02:
                store.pages.clear()
            await several[index].round(batch, seconds=0.1)
        taken_back += any(gate.rollout.state == "rolled-back" for gate in several)
        naive += fooled
    assert taken_back <= 0.017 * runs
    assert naive > 0.017 * runs
