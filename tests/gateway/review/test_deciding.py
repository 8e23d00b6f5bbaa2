"""Deciding without backends: what the live data plane would decide, and nobody to ask."""

from __future__ import annotations

import pytest

from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.inference import InferenceRequest, Tensors
from gateway.dataplane import Inquiry
from gateway.review import deciding
from gateway.snapshot import Snapshot
from policies.call import Call
from routing.match import Match, Route, RouteTable, Use, Versions
from routing.plan import Target
from routing.planner import planner
from routing.principal import ANONYMOUS
from routing.targets import targets

TABLE = RouteTable("m", (Route("r", Match(), Use(Target("v", "b", "x")), 3.0),), versions=Versions(latest=1))
MODEL = deciding.model(TABLE, planner(TABLE), targets(TABLE))
SNAPSHOT = Snapshot("", {"m": MODEL}, {}, {})


def decided(version: str, model: str = "m") -> Call:
    request = InferenceRequest(model, version, "", {}, (), (), Tensors(()))
    return deciding.decide(SNAPSHOT, request, Inquiry(ANONYMOUS, {}, "r1", 0.0, None))


def test_a_plan_is_the_live_one() -> None:
    """Route, deadline and target, of whichever version is asked for: it counts as the latest."""
    assert ("r", 3.0, "") == ((call := decided("")).plan.route, call.deadline.at, call.plan.stages[0].target.version)
    assert "7" == decided("7").plan.stages[0].target.version


def test_a_refusal_is_the_live_one() -> None:
    """It is raised as the data plane raises it."""
    with pytest.raises(InferenceError, match="unknown model 'other'"):
        decided("", "other")


async def test_there_is_nobody_to_ask() -> None:
    """Whoever asks all the same has a defect."""
    call = Call("m", decided("").request, ANONYMOUS, decided("").plan, Deadline(1.0))
    with pytest.raises(AssertionError, match="asks nobody"):
        await MODEL.ask(call)
    with pytest.raises(AssertionError, match="asks nobody"):
        MODEL.stream(call)
