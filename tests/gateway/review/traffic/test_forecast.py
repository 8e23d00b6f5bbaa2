"""What another plan would cost a recorded request: exactly where the record tells, within bounds where it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.tensors import Tensor
from gateway.review.traffic.forecast import Forecast, facts, forecast
from gateway.telemetry.sample import UNIT, Ask, Sample, stages
from routing.cascade.calibration import Calibration
from routing.cascade.escalation import Escalation
from routing.plan import Confidence, Plan, Stage, Target
from routing.price import Price
from tests.gateway.review.recorded import CASCADE, gold, sample

TARGETS = [Target(name, "triton", name[0], cost=cost) for name, cost in (("fast", 1.0), ("balanced", 6.0), ("accurate", 40.0))]
CONFIDENCE = Confidence("p", "output")


def plan(*accepts: float | None, targets: Sequence[int] = (0, 1, 2)) -> Plan:
    """A cascade of these thresholds, or one variant."""
    stages = tuple(Stage(TARGETS[index], accept) for index, accept in zip(targets, accepts, strict=True))
    return Plan("default", stages, 1.0, Confidence("p", "margin") if len(stages) > 1 else None)


ASKED = sample(rows=2, asks=(Ask("fast", 2, 2.0, (950_000, 500_000)), Ask("balanced", 1, 5.0, (850_000,))), cost=8.0)


@pytest.mark.parametrize(
    ("found", "plan", "wanted"),
    [
        (ASKED, plan(0.9, 0.8, None), Forecast(8.0, 8.0, (("triton/f/", 2), ("triton/b/", 1)), True)),
        (ASKED, plan(None, targets=[2]), Forecast(80.0, 80.0, (("triton/a/", 2),))),
        (ASKED, plan(0.5, 0.8, None), Forecast(2.0, 2.0, (("triton/f/", 2),))),
        (ASKED, plan(0.9, 0.9, None), Forecast(48.0, 48.0, (("triton/f/", 2), ("triton/b/", 1), ("triton/a/", 1)))),
        (ASKED, plan(0.9, None, targets=[0, 2]), Forecast(42.0, 42.0, (("triton/f/", 2), ("triton/a/", 1)))),
        (ASKED, plan(0.96, 0.8, None), Forecast(14.0, 54.0, None)),  # of the first row nobody knows what `balanced` thinks
        (ASKED, plan(0.96, None, targets=[0, 2]), Forecast(82.0, 82.0, (("triton/f/", 2), ("triton/a/", 2)))),
        (ASKED, plan(0.9, None, targets=[1, 0]), Forecast(13.0, 14.0, None)),
        (gold(3), plan(0.9, 0.8, None), Forecast(3.0, 141.0, None)),
        (sample(rows=None), plan(0.97, None, targets=[0, 1]), Forecast(7.0, 7.0, (("triton/f/", 1), ("triton/b/", 1)))),
    ],
)  # fmt: skip
def test_costs(found: Sample, plan: Plan, wanted: Forecast) -> None:
    """Kept plans, one variant, lower and higher thresholds, stages left out or put in another order, whole requests."""
    assert wanted == forecast(found, facts(plan))


def test_asks_have_a_price_of_their_own() -> None:
    """However many rows they have; time and tokens of what was not asked nobody knows."""
    dear = replace(TARGETS[2], price=Price(call=5.0, gpu_ms=1.0))
    cascade = Plan("default", (Stage(TARGETS[0], 0.9), Stage(dear)), 1.0, Confidence("p", "margin"))
    assert Forecast(42.0 + 5, 42.0 + 5, (("triton/f/", 2), ("triton/a/", 1))) == forecast(ASKED, facts(cascade))
    assert 85.0 == forecast(ASKED, facts(Plan("default", (Stage(dear),), 1.0))).low
    assert (3.0, 3 * 41 + 5.0) == (lambda found: (found.low, found.high))(forecast(gold(3), facts(cascade)))


def test_other_confidences_tell_nothing() -> None:
    """Another metric or output, or confidences that were not recorded: between the first stage alone and all of them."""
    other = Plan("default", plan(0.9, 0.8, None).stages, 1.0, Confidence("q", "margin"))
    assert Forecast(2.0, 94.0, None) == forecast(ASKED, facts(other))
    unscored = sample(rows=300, asks=(Ask("fast", 300, 2.0),))
    assert Forecast(300.0, 14_100.0, None) == forecast(unscored, facts(plan(0.5, 0.8, None)))


def test_scores_of_another_scale_tell_nothing() -> None:
    """What maps made of scores is not held against raw thresholds, nor logits against probabilities."""
    stages = plan(0.5, 0.8, None).stages
    maps = Calibration({"other": ((0.0, 0.1), (1.0, 0.9))})
    mapped = replace(plan(0.5, 0.8, None), stages=(replace(stages[0], calibration=maps), *stages[1:]))
    logits = replace(plan(0.5, 0.8, None), confidence=Confidence("p", "margin", logits=True))
    bounds = [
        Forecast(2.0, 54.0, None),
        Forecast(2.0, 94.0, None),
    ]  # what `balanced` thinks of the second row is on its old scale
    assert bounds == [forecast(ASKED, facts(each)) for each in (mapped, logits)]
    assert Forecast(2.0, 2.0, (("triton/f/", 2),)) == forecast(ASKED, facts(plan(0.5, 0.8, None)))


def test_any_number_of_rows_takes_no_longer() -> None:
    """A line with a number of rows that no request ever had is answered like any other."""
    assert Forecast(1e15, 47e15, None) == forecast(gold(10**15), facts(plan(0.9, 0.8, None)))


def test_who_stood_in_tells_nothing_of_the_stage() -> None:
    """What a fallback was sure of is not what the stage's own model would have been."""
    stood = sample(asks=(Ask("balanced", 1, 2.0, (950_000,)),))
    assert Forecast(1.0, 41.0, None) == forecast(stood, facts(plan(0.5, None, targets=[0, 2])))


def test_kept_costs_are_at_the_new_price() -> None:
    """The same asks; of a fallback that is no more, what it did cost. A request that failed costs nothing."""
    stages = plan(0.9, 0.8, None).stages
    dear = tuple(Stage(Target(each.target.variant, "triton", each.target.model, cost=10.0), each.accept) for each in stages)
    dearer = Plan("default", dear, 1.0, Confidence("p", "margin"))
    assert (30.0, True) == (forecast(ASKED, facts(dearer)).low, forecast(ASKED, facts(dearer)).kept)
    gone = sample(asks=(Ask("spare", 1, 2.0),), cost=7.0)
    assert Forecast(7.0, 7.0, None, True) == forecast(gone, facts(plan(0.9, 0.8, None)))
    assert Forecast(0.0, 0.0, (), True) == forecast(sample(asks=(), cost=0.0), facts(plan(0.9, 0.8, None)))


def test_a_label_says_who_answers() -> None:
    """The stages in order."""
    assert "fast→balanced→accurate" == facts(plan(0.9, 0.8, None)).label
    assert CASCADE == facts(plan(0.9, 0.8, None)).stages


def climbed(accepts: Sequence[float | None], sure: Sequence[Sequence[float]]) -> tuple[list[Ask], float]:
    """What the serving code's own escalation asks, row by row, and its cost. `sure`: by stage, then row."""
    rows, asks, cost = len(sure[0]), [], 0.0
    stages = tuple(Stage(TARGETS[stage], accept) for stage, accept in enumerate(accepts))
    escalation = Escalation(Plan("default", stages, 1.0, CONFIDENCE), rows)
    for stage, accept in enumerate(accepts):
        asked = list(escalation.unsure)
        if not asked:
            break
        values = np.array([sure[stage][row] for row in asked], "<f8")
        escalation.answered(stage, [Tensor("p", "FP64", (len(asked),), values.tobytes())])
        scores = None if accept is None else tuple(int(np.floor(each * UNIT + 1e-9)) for each in values)
        asks.append(Ask(TARGETS[stage].variant, len(asked), 1.0, scores))
        cost += TARGETS[stage].cost * len(asked)
    return asks, cost


scores = st.integers(0, 20).map(lambda n: n / 20)
thresholds = st.lists(scores, min_size=2, max_size=2).map(lambda found: (*found, None))


several = st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(scores, min_size=n, max_size=n), min_size=3, max_size=3))


@given(thresholds, thresholds, several)
def test_what_is_foretold_is_what_the_escalation_does(
    was: tuple[float | None, ...], now: tuple[float | None, ...], sure: list[list[float]]
) -> None:
    """For any thresholds then and now and any confidences: the cost of the serving code's own climb, or bounds that hold it."""
    asks, cost = climbed(was, sure)
    _, happens = climbed(now, sure)
    old = Plan("default", tuple(Stage(target, accept) for target, accept in zip(TARGETS, was, strict=True)), 1.0, CONFIDENCE)
    new = Plan("default", tuple(Stage(target, accept) for target, accept in zip(TARGETS, now, strict=True)), 1.0, CONFIDENCE)
    found = sample(rows=len(sure[0]), stages=stages(old), confidence=("p", "output"), asks=tuple(asks), cost=cost)
    told = forecast(found, facts(new))
    assert told.low <= happens <= told.high
    if all((after or 0) <= (before or 0) for before, after in zip(was, now, strict=True)):
        assert told.low == told.high  # less is asked than was
