"""A process's part of rollouts; the rest is in tests/features/test_rollout.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from gateway.rollout.rollouts import Rollouts
from gateway.rollout.words import Order
from gateway.spawner import Spawner
from routing.match import Question, RouteTable
from routing.plan import Plan, Stage
from routing.principal import Principal
from tests.gateway.rollout.test_leader import ROLLING

ORDER = Order("digits", "live", "definition", "digits/live/next/1", "running", 0.5)
TABLES = {"digits": RouteTable("digits", (), rollouts=(ROLLING,))}
PLANS = {"digits": [lambda _: Plan("r", (Stage(ROLLING.target),), 1.0), lambda _: Plan("r", (Stage(ROLLING.candidate),), 1.0)]}


@pytest.fixture
async def rollouts() -> AsyncIterator[Rollouts]:
    spawner = Spawner()
    yield Rollouts(spawner)
    await spawner.close()


def drawn(rollouts: Rollouts, tables: dict[str, RouteTable] = TABLES) -> set[str]:
    """Who is planned for a hundred questions."""
    rolled = rollouts.rolled(tables, PLANS)["digits"]
    asked = [Question(Principal("s", "t", "", frozenset()), {}, 1, {}, "", f"q{unit}") for unit in range(100)]
    return {rolled.plan(question)[0].stages[0].target.variant for question in asked}


async def test_orders_hold_until_others_come(rollouts: Rollouts) -> None:
    """Also for a policy that is compiled later."""
    assert {"live"} == drawn(rollouts)
    rollouts.exchange([ORDER])
    assert {"live", "next"} == drawn(rollouts)
    rollouts.exchange([replace(ORDER, state="promoted", weight=1.0)])
    assert {"next"} == drawn(rollouts)
    rollouts.exchange([replace(ORDER, state="rolled-back", weight=0.0)])
    assert {"live"} == drawn(rollouts)


async def test_a_candidate_that_has_all_is_counted(rollouts: Rollouts) -> None:
    """As long as it is not promoted: nothing ends without requests."""
    for state, expected in (("running", 100), ("promoted", 0)):
        rollouts.exchange([replace(ORDER, state=state, weight=1.0)])
        rolled = rollouts.rolled(TABLES, PLANS)["digits"]
        asked = [Question(Principal("s", "t", "", frozenset()), {}, 1, {}, "", f"q{unit}") for unit in range(100)]
        assert expected == sum(len(rolled.plan(each)[1]) for each in asked)
        assert {"next"} == drawn(rollouts)


async def test_orders_of_another_definition(rollouts: Rollouts) -> None:
    """Are not obeyed: leader and process have different policies for a moment."""
    rollouts.exchange([ORDER])
    edited = {"digits": RouteTable("digits", (), rollouts=(replace(ROLLING, definition="another"),))}
    assert {"live"} == drawn(rollouts, edited)


async def test_what_was_counted_is_told_once(rollouts: Rollouts) -> None:
    """By attempt; a reload that does not touch the rollout loses nothing."""
    drawn(rollouts)
    assert [] == rollouts.exchange([ORDER])
    (lane,) = rollouts.rolled(TABLES, PLANS)["digits"]._lanes
    lane.tally.drew(0.1, 0.5)
    drawn(rollouts)
    ((told,),) = await rollouts.alone([ORDER])
    assert ("digits/live/next/1", [(0, 1)]) == (told.attempt, [count.labels for count in told.batch.counts])
    ((told,),) = await rollouts.alone([ORDER])
    assert () == told.batch.counts
