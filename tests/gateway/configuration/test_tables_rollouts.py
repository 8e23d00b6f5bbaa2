"""What routing is told of a policy's rollouts."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from routing.rollout.betting import POINTS, Metric
from routing.rollout.feedback import Feedback
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Step, Terms
from routing.rollout.units import Excluded, Holdout
from tests.gateway.configuration.test_checks_rollouts import GOOD, policy

GUARDS = "[{metric: latency-p99, max_increase: 20%}, {metric: error-rate, max_increase: 0.5%}, {metric: latency}]"


def rolling(rollout: str) -> Rolling:
    (found,) = route_tables(load_policy(policy(rollout), "policy.yaml"))["digits"].rollouts
    return found


def test_terms_and_measures() -> None:
    """In the order of the metrics' names; a latency's tolerance is a scale, a rate's are points."""
    found = rolling(GOOD.replace("[{metric: error-rate}]", GUARDS).replace("proof", "unit: tenant, alpha: 2%, proof"))
    metrics = (Metric("error-rate", points=0.005), Metric("latency", "latency"), Metric("latency-p99"))
    assert Terms((Step(0.05, 3600.0, 0),), metrics, 0.02, "time", True) == found.terms
    assert (Measure("error"), Measure("latency"), Measure("latency", 1.2, POINTS.index(0.99) + 1)) == found.measures
    assert ("dear", "dear", "next", "tenant") == (found.stable, found.target.variant, found.candidate.variant, found.unit)


@pytest.mark.parametrize(
    ("old", "new"), [("5%", "6%"), ("1h", "2h"), ("next", "idle"), ("error-rate", "latency"), ("proof", "unit: tenant, proof")]
)
def test_another_definition(old: str, new: str) -> None:
    """Whatever is edited makes another rollout."""
    assert rolling(GOOD).definition != rolling(GOOD.replace(old, new)).definition


def test_the_same_definition() -> None:
    """What costs something, or stands elsewhere, does not; nor are kept answers forgotten because a rollout came."""
    same = policy(GOOD).replace(b"model: d, version", b"model: d, cost: 9, version")
    (found,) = route_tables(load_policy(same, "policy.yaml"))["digits"].rollouts
    assert rolling(GOOD).definition == found.definition
    epochs = set()
    for text in (policy(GOOD), policy("")):
        cached = text.replace(b"    fallback", b"    cache: {ttl: 1m}\n    fallback")
        caching = route_tables(load_policy(cached, "policy.yaml"))["digits"].cache
        assert caching is not None
        epochs.add(caching.epoch)
    assert 1 == len(epochs)


def test_what_clients_tell() -> None:
    """True or false, a number between two, or a label for one; it is no part of the definition, as a part of a group is."""
    told = "feedback: [{metric: a}, {metric: b, of: told, low: 1, high: 5}, {metric: c, labels: {good: 1, bad: -1}}], proof"
    found = rolling(GOOD.replace("proof", told))
    labels = {"good": 1.0, "bad": -1.0}
    assert (Feedback("a"), Feedback("b", "told", 1.0, 5.0), Feedback("c", "all", -1.0, 1.0, labels)) == found.feedback
    assert rolling(GOOD).definition == found.definition
    grouped = rolling(GOOD.replace("proof", "group: {name: g, from: 10%, to: 40%}, proof"))
    assert Excluded("g", 0.1, 0.4) == grouped.excluded
    assert rolling(GOOD).definition != grouped.definition


def test_the_holdout_is_of_every_table_with_rollouts() -> None:
    """And no part of a definition."""
    document = load_policy(policy(GOOD) + b"holdout: {share: 5%, unit: subject}\n", "policy.yaml")
    table = route_tables(document)["digits"]
    assert Holdout(0.05, "subject") == table.holdout
    assert rolling(GOOD).definition == table.rollouts[0].definition
