"""Guards that nobody could ever tell of, or that tolerate something in another metric's terms, are refused."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.tables import route_tables
from routing.rollout.betting import Metric
from routing.rollout.rolling import Measure
from tests.gateway.configuration.test_checks_rollouts import GOOD, policy

SHADOW = "shadows: [{name: s, of: dear, to: next, fraction: 10%}]"


def guarded(guard: str, more: str = "") -> str:
    return GOOD.replace("{metric: error-rate}", f"{{{guard}}}").replace("proof", f"{more}proof")


@pytest.mark.parametrize(
    ("guard", "more", "metric", "measure"),
    [
        ("metric: error-rate, max_ratio: 1.5", "", Metric("error-rate", ratio=1.5), Measure("error")),
        ("metric: unparseable-rate", "", Metric("unparseable-rate"), Measure("unparseable")),
        (
            "metric: unparseable-rate, output: text, max_increase: 1%",
            "",
            Metric("unparseable-rate", points=0.01),
            Measure("unparseable", output="text"),
        ),
        ("metric: guardrail-rate, output: flag", "", Metric("guardrail-rate"), Measure("guardrail", output="flag")),
        (
            "metric: thumbs-down, max_ratio: 2",
            "feedback: [{metric: thumbs-down}], ",
            Metric("thumbs-down", ratio=2.0, beside=True),
            Measure("elsewhere"),
        ),
    ],
)
def test_what_they_mean(guard: str, more: str, metric: Metric, measure: Measure) -> None:
    """Each in the terms of the bets, and how a request is read."""
    (found,) = route_tables(load_policy(policy(guarded(guard, more)), "policy.yaml"))["digits"].rollouts
    assert ((metric,), (measure,)) == (found.terms.metrics, found.measures)


def test_disagreement() -> None:
    """Needs a shadow of the pair that asks the primary again; `max` is what is tolerated."""
    (found,) = route_tables(load_policy(policy(guarded("metric: disagreement, max: 2%"), SHADOW), "policy.yaml"))[
        "digits"
    ].rollouts
    assert (Metric("disagreement", points=0.02, beside=True),) == found.terms.metrics
    assert (Measure("elsewhere"),) == found.measures
    refused(policy(guarded("metric: disagreement, max: 2%")), "no shadow is of 'dear' to 'next'")
    refused(policy(guarded("metric: disagreement, max_ratio: 2"), SHADOW), "say what is tolerated with max")


@pytest.mark.parametrize(
    ("guard", "feedback"),
    [("metric: disagreement, max: 2%", ""), ("metric: thumbs-down", "feedback: [{metric: thumbs-down}], ")],
)
def test_at_once(guard: str, feedback: str) -> None:
    """Where the first step is all, nobody is left of whom mirrors or clients could tell."""
    at_once = guarded(guard, feedback).replace("[{weight: 5%, hold: 1h}]", "[{weight: 100%, hold: 1h}]")
    refused(policy(at_once, SHADOW), "at 100% no stable side is asked")


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ("metric: error-rate, max: 2%", "only disagreement has a max: of error-rate say max_increase"),
        ("metric: error-rate, max_ratio: 0.5", "1 is the least"),
        ("metric: error-rate, max_ratio: 2, max_increase: 1%", "either so many times"),
        ("metric: latency-p99, max_ratio: 1.2", "max_increase is a part of the seconds already"),
        ("metric: error-rate, output: flag", "error-rate looks at no output"),
        ("metric: guardrail-rate", "which output says"),
        ("metric: thumbs-down", "nobody could ever tell"),
    ],
)
def test_refused(guard: str, said: str) -> None:
    """One slip, one problem."""
    refused(policy(guarded(guard)), said)


def refused(text: bytes, said: str) -> None:
    with pytest.raises(PolicyError) as error:
        load_policy(text, "policy.yaml")
    assert [True] == [said in problem.text("policy.yaml") for problem in error.value.problems], error.value.problems


def test_an_upgrade_begins_nothing_anew() -> None:
    """What guards could not say before stands in no definition where it is not said: this is the one of the version before."""
    (found,) = route_tables(load_policy(policy(GOOD), "policy.yaml"))["digits"].rollouts
    assert "6152d621b9f93925" == found.definition
