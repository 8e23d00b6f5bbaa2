"""An A/B test as one value."""

from __future__ import annotations

from gateway.experiment.counts import Counted, Counts
from gateway.experiment.journal import Stood
from gateway.experiment.report import report
from gateway.rollout.words import Order
from tests.gateway.experiment.test_experiments import GOOD, KEY, tables


def test_it_says_what_is_compared_and_since_when() -> None:
    """The interval is the narrowest after as many units as the step wants of the candidate, by its weight."""
    (few,) = tables()["digits"].rollouts
    (many,) = tables(GOOD.replace("weight: 50%", "weight: 50%, samples: 200"))["digits"].rollouts
    counts = Counts(Counted("a/1", 0.5, 86_400.0), few.feedback, sticky=False)
    for number in range(800):
        stood = Stood((number % 2) * 0.5 + 0.1, 0.5)
        counts.asked(stood)
        if number % 8 == 0:
            counts.told(0, 1.0, stood)
    order = Order(*KEY, "d", "a/1", "running", 0.5)
    found, narrower = (report(KEY, rolling, order, counts) for rolling in (few, many))
    assert ("digits", "dear", "next", "a/1", "running", "request", 0.5, 0.05) == (
        *(found.model, found.rollout, found.candidate, found.attempt, found.state, found.unit, found.weight, found.alpha),
    )
    assert ("1970-01-02T00:00:00Z", (400, 400), (0.0, 0.25)) == (found.since, found.drawn, found.metrics[0].means)
    widths = [each.metrics[0].high - each.metrics[0].low for each in (narrower, found)]
    assert widths[0] < widths[1]
