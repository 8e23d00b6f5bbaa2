"""Each request's side is drawn once, and counted once, where it is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import numpy as np
import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from backends.tensors import from_array
from policies.call import Answer, Call
from policies.rollout import Draw, Lane, Rolled, RolloutPolicy
from routing.match import Question
from routing.plan import Plan, Stage, Target
from routing.principal import Principal
from routing.rollout.betting import Metric
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Step, Terms
from tests.policies.conftest import TARGETS

MakeCall = Callable[..., Call]
NEXT = Target("next", "triton", "b_next")
METRICS = (Metric("error-rate"), Metric("timeout-rate"), Metric("latency", "latency"))
TERMS = Terms((Step(0.5, 60.0),), METRICS, sticky=False)
MEASURES = (Measure("error"), Measure("timeout"), Measure("latency", 1.2))


def lane(share: float = 0.5, watching: bool = True, sticky: bool = False) -> Lane:
    made = Lane(Rolling("fast", TARGETS["fast"], NEXT, "request", replace(TERMS, sticky=sticky), MEASURES, "d"))
    made.follow("m/fast/next/1", share, watching)
    return made


def question(unit: int, version: str = "") -> Question:
    return Question(Principal("s", "t", "free", frozenset()), {}, 1, {}, version, f"q-{unit}")


def plan(target: Target, swapped: tuple[str, ...] = ()) -> Plan:
    return Plan("r", (Stage(target),), 1.0, swapped=swapped)


STABLE, SWAPPED = plan(TARGETS["fast"]), plan(NEXT, ("next",))


class Bench:
    """A layer over a backend that takes a second, and fails as told."""

    def __init__(self, make_call: MakeCall, over: Lane) -> None:
        self.now = 100.0
        self.lane, self.make_call = over, make_call
        self.policy = RolloutPolicy(lambda: self.now)
        self.rolled = Rolled([lambda _: STABLE, lambda _: SWAPPED], [over])
        self.failure: BaseException | None = None
        self.answer = Answer(None, (), 0.0, 1.0)  # type: ignore[arg-type]  # nobody looks into it

    def call(self, unit: int) -> Call:
        planned, drawn = self.rolled.plan(question(unit))
        return replace(self.make_call(), plan=planned, target=planned.stages[0].target, drawn=drawn)

    async def below(self, call: Call) -> Answer:
        self.now += 1.0
        if self.failure is not None:
            raise self.failure
        return self.answer

    async def streamed(self, call: Call) -> AsyncGenerator[Answer, None]:
        yield await self.below(call)
        yield await self.below(call)

    async def ask(self, unit: int) -> None:
        await self.policy(self.call(unit), self.below)


@pytest.fixture
def bench(make_call: MakeCall) -> Bench:
    return Bench(make_call, lane())


def units(over: Lane, candidate: bool, count: int) -> list[int]:
    """The first so many units of that side."""
    found = [unit for unit in range(200) if (draw := over.draw(question(unit))) is not None and draw.candidate is candidate]
    return found[:count]


async def test_both_sides_are_counted(bench: Bench) -> None:
    """Draws, and what they came to, by side."""
    for candidate, count in ((True, 3), (False, 5)):
        for unit in units(bench.lane, candidate, count):
            await bench.ask(unit)
    batch = bench.lane.take()
    assert ((5, 3), (5, 3)) == batch.looked[:2]
    assert [(5, 3)] == [count.labels for count in batch.counts if count.metric == -1]


@pytest.mark.parametrize(
    ("failure", "cells"),
    [
        (InferenceError(ErrorKind.BROKEN, "no"), {(0, 1): (0, 1), (1, 0): (0, 1)}),
        (InferenceError(ErrorKind.INVALID, "no"), {(0, 1): (0, 1), (1, 0): (0, 1)}),
        (InferenceError(ErrorKind.DEADLINE, "late"), {(0, 1): (0, 1), (1, 1): (0, 1)}),
        (GeneratorExit(), {(0, 0): (0, 1), (1, 0): (0, 1)}),  # stands for a client that leaves
    ],
)
async def test_what_went_wrong(bench: Bench, failure: BaseException, cells: dict[tuple[int, int], tuple[int, int]]) -> None:
    """Any error is one, a timeout is both, and who leaves is neither."""
    bench.failure = failure
    with pytest.raises(type(failure)):
        await bench.ask(units(bench.lane, True, 1)[0])
    counts = {(count.metric, count.cell): count.labels for count in bench.lane.take().counts if count.metric >= 0}
    assert cells == counts


async def test_once_a_request(bench: Bench) -> None:
    """A second ask of the same call, and somebody else's, do not count."""
    call = bench.call(units(bench.lane, True, 1)[0])
    for target in (NEXT, NEXT, TARGETS["fast"], TARGETS["dear"]):
        await bench.policy(replace(call, target=target), bench.below)
    assert (0, 1) == bench.lane.take().looked[0]


async def test_never_asked_never_counted(bench: Bench) -> None:
    """What a cache answered, or a route that asks somebody else."""
    for unit in range(10):
        await bench.policy(replace(bench.call(unit), target=TARGETS["dear"]), bench.below)
    assert not any(map(any, bench.lane.take().looked))


def test_a_candidate_that_a_route_names_itself(bench: Bench) -> None:
    """Was not drawn there."""
    draw = bench.lane.draw(question(units(bench.lane, True, 1)[0]))
    assert draw is not None
    assert not draw.meets(NEXT, plan(NEXT))
    assert draw.meets(NEXT, SWAPPED)


async def test_a_stream_counts_once(bench: Bench) -> None:
    """Until its first answer; also one that is left."""
    over = bench.policy.over(bench.streamed)
    for unit in units(bench.lane, False, 2):
        answers = over(bench.call(unit))
        await anext(answers)
        await answers.aclose()
    assert (2, 0) == bench.lane.take().looked[0]
    assert [2] == list(bench.lane.points.counts.values())


async def test_before_any_weight_only_latency_is_learned(make_call: MakeCall) -> None:
    """Of the stable side, by its answers."""
    bench = Bench(make_call, lane(0.0))
    await bench.ask(1)
    assert 1 == sum(bench.lane.points.counts.values())
    assert not any(map(any, bench.lane.take().looked))


def test_promoted_and_taken_back() -> None:
    """All or nothing, and nothing is drawn."""
    for share, expected in ((1.0, SWAPPED), (0.0, STABLE)):
        rolled = Rolled([lambda _: STABLE, lambda _: SWAPPED], [lane(share, watching=False)])
        assert {(expected.stages, ())} == {(found.stages, drawn) for found, drawn in map(rolled.plan, map(question, range(20)))}


def test_a_version_is_stable() -> None:
    """Whoever insists on one is in no rollout."""
    rolled = Rolled([lambda _: STABLE, lambda _: SWAPPED], [lane(0.99)])
    assert (STABLE, ()) == rolled.plan(question(1, "3"))


def test_two_rollouts_choose_among_four_planners() -> None:
    """Each by a bit of its own, independently."""
    other = Lane(replace(lane().rolling, stable="dear"))
    other.follow("m/dear/next/1", 0.5, watching=True)
    plans = [plan(Target(str(number), "b", "m")) for number in range(4)]
    rolled = Rolled([lambda _, each=each: each for each in plans], [lane(), other])  # type: ignore[misc]
    seen = {rolled.plan(question(unit))[0].stages[0].target.variant for unit in range(100)}
    assert {"0", "1", "2", "3"} == seen


def test_another_attempt_draws_anew() -> None:
    """And counts from nothing."""
    one = lane()
    before = units(one, True, 20)
    tally = one.tally
    one.follow("m/fast/next/2", 0.5, watching=True)
    assert before != units(one, True, 20)
    assert tally is not one.tally


@pytest.mark.parametrize(("share", "is_open"), [(0.0, False), (0.05, True), (1.0, False)])
def test_only_where_both_sides_have_a_share_a_draw_says_something(share: float, is_open: bool) -> None:
    """Else nothing has to pass a cache to be counted."""
    draw = lane(share).draw(question(1))
    assert draw is not None
    assert is_open is draw.open


def test_nobody_moves_back() -> None:
    """As the weight grows."""
    one = lane(0.1)
    few = set(units(one, True, 200))
    one.follow(one.attempt, 0.4, watching=True)
    assert few < set(units(one, True, 200))
    assert isinstance(one.draw(question(1)), Draw)


def test_comparisons_of_a_shadow() -> None:
    """One of the two later answers is looked at, by a fair coin; only while both sides are asked, and if a guard wants it."""
    metrics = Metric("error-rate"), Metric("disagreement", beside=True)
    coins = iter([0.2, 0.7, 0.2, 0.7])
    rolling = Rolling("fast", TARGETS["fast"], NEXT, "request", replace(TERMS, metrics=metrics), (), "d")
    made = Lane(rolling, lambda: next(coins))
    made.follow("m/fast/next/1", 0.05, watching=True)
    for differs in ((True, False), (True, False), (False, True), (False, True)):
        made.held(*differs)
    found = made.take()
    assert ((0, 0), (2, 2)) == found.looked
    assert {(0, 0.5): (1, 1), (1, 0.5): (1, 1)} == {(each.cell, each.weight): each.labels for each in found.counts}
    made.follow("m/fast/next/1", 0.0, watching=True)
    made.held(True, False)
    lane().held(True, False)
    assert not made.take()


async def test_guards_that_look_into_the_answer(make_call: MakeCall) -> None:
    """See what came, and nothing where nothing did."""
    measures = (Measure("unparseable"), Measure("guardrail", output="flag"))
    made = Lane(Rolling("fast", TARGETS["fast"], NEXT, "request", replace(TERMS, metrics=METRICS[:2]), measures, "d"))
    made.follow("m/fast/next/1", 0.5, watching=True)
    bench = Bench(make_call, made)
    flag = from_array("flag", "BOOL", np.array([True]))
    bench.answer = Answer(InferenceResponse("m", "1", "", {}, Tensors((flag,))), (), 0.0, 1.0)
    await bench.ask(1)
    bench.failure = InferenceError(ErrorKind.BROKEN, "no", reason="bad-answer")
    with pytest.raises(InferenceError):
        await bench.ask(2)
    bench.failure = InferenceError(ErrorKind.UNAVAILABLE, "no")
    with pytest.raises(InferenceError):
        await bench.ask(3)
    assert [2, 1] == [sum(labels) for labels in made.take().looked]
