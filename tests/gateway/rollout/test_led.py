"""A rollout as one gateway holds it."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from gateway.rollout.file import Kept
from gateway.rollout.led import Led, moved, untold
from gateway.rollout.words import Fitness, Presence
from routing.rollout.betting import Metric
from routing.rollout.rollout import Rollout, Step, Terms, command
from routing.rollout.tally import Batch, Tally

TERMS = Terms((Step(0.5, 60.0),), (Metric("error-rate"),), proof="mirror")
ROLLOUT = Rollout("digits", "live", "next", TERMS)
WARMING = command(ROLLOUT, "start", "alice", 1.0)
RUNNING = replace(ROLLOUT, state="running", told=100.0)


def failing(*places: float) -> Batch:
    tally = Tally(TERMS.metrics, sticky=True)
    for place in places:
        tally.drew(place, 0.5)
        tally.saw(place, 0.5, [1])
    return tally.take()


def present(*fitness: Fitness, mirror: str = "") -> list[Presence]:
    return [Presence("d", ROLLOUT.id, each, f"{each}!", mirror) for each in fitness]


@pytest.mark.parametrize(
    ("fitness", "state"),
    [
        (["fit", "fit"], "running"),
        (["fit", "waiting"], "warming"),
        (["fit", ""], "warming"),
        (["unfit", "waiting"], "rolled-back"),
        ([], "warming"),
    ],
)
def test_a_candidate_is_fit_at_all_gateways_or_waits(fitness: list[Fitness], state: str) -> None:
    """One that finds it unfit suffices; who has another attempt in mind has said nothing yet."""
    assert {*fitness} <= {*get_args(Fitness)}
    assert state == moved(WARMING, 2.0, present(*fitness)).state
    other = Presence("d", "another", "unfit")
    assert moved(WARMING, 2.0, [*present("fit"), other]) == WARMING


@pytest.mark.parametrize(("mirrors", "ends"), [(("same", ""), True), (("same", "different"), False), (("", ""), False)])
def test_the_mirrors_of_all(mirrors: tuple[str, str], ends: bool) -> None:
    """One that finds the answers the same is enough, and one that finds them different too much."""
    both = [each for mirror in mirrors for each in present("", mirror=mirror)]
    led = Led(Kept("d", replace(RUNNING, held=100.0)))
    led.count(failing(0.1, 0.9), shared=False)
    assert ("promoted" if ends else "running") == moved(replace(led.rollout, samples=10), 100.0, both).state


def test_what_is_said_again_and_again() -> None:
    """Only the time, and each second once."""
    assert untold(RUNNING, replace(RUNNING, told=100.9, held=0.9))
    assert not untold(RUNNING, replace(RUNNING, told=101.0, held=1.0))
    assert not untold(RUNNING, replace(RUNNING, samples=1))


def test_units_come_across() -> None:
    """What one gateway knows of them another can learn, all or some."""
    one, two = Led(Kept("d", RUNNING)), Led(Kept("d", RUNNING))
    one.count(failing(0.1, 0.9), shared=False)
    two.learn(one.units([("error-rate", 0.9)]))
    assert ({}, {0.9: 0.5}) == (two.seen[""].known, two.seen["error-rate"].known)
    two.learn(one.units())
    assert one.kept().known == two.kept().known == {"": {0.1: 1.0, 0.9: 0.5}, "error-rate": {0.1: 1.0, 0.9: 0.5}}


def test_alone() -> None:
    """What was counted and not shared yet is looked at, and what all have come to stays as it is."""
    led = Led(Kept("d", RUNNING))
    led.count(failing(0.1), shared=True)
    led.go_alone()
    led.count(failing(*(0.2 + number / 1000 for number in range(30))), shared=True)
    assert led.alone is not None
    assert (True, 0.0, 0.5) == (led.alone.harmful, led.weight, led.rollout.weight)
    assert {} == led.seen["error-rate"].known
    assert led.waiting is not None
    assert 31 * 2 == len(led.waiting.reveals)
