"""A document's audit becomes routing's own value, whole."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from routing.cascade.audits import Audit
from routing.match import Cascade
from routing.shadow.compare import Rule
from tests.gateway.configuration.test_checks_audit import CLASSES, GOOD, policy

CALIBRATED = f"{CLASSES}, calibration: {{label: l, maps: {{other: [[0, 0], [1, 1]]}}}}"


def made(audit: str, confidence: str = CLASSES) -> Audit:
    (route,) = route_tables(load_policy(policy(audit, confidence), "p"))["digits"].routes
    assert isinstance(route.action, Cascade)
    assert route.action.audit is not None
    return route.action.audit


def test_all_of_it() -> None:
    """Every key has its place."""
    found = made(
        "share: 5%, promise: 98%, on_alarm: dear, compare: {l: {atol: 2}}, timeout: 1s, max_in_flight: 3, queue: 4,"
        " budget: 60/m, except: {tenant: t, tier: [u]}"
    )
    names = frozenset({"t"}), frozenset({"u"})
    assert Audit(0.05, 0.02, True, (("l", Rule(atol=2.0)),), 1.0, 3, 4, (60.0, 1.0), *names, found.epoch) == found


@pytest.mark.parametrize(
    ("audit", "confidence", "rules"),
    [
        (GOOD, CLASSES, (("p", Rule(label=True)),)),
        (GOOD, CALIBRATED, (("l", Rule(exact=True)),)),
        (f"{GOOD}, label: m", CALIBRATED, (("m", Rule(exact=True)),)),
    ],
)
def test_what_is_compared(audit: str, confidence: str, rules: object) -> None:
    """The place of the largest, else the calibration's label, else the audit's own."""
    assert rules == made(audit, confidence).rules


def test_the_epoch() -> None:
    """Is another where something else is kept, promised or compared, and the same where only other rows are drawn."""
    epoch = made(GOOD).epoch
    assert epoch == made("share: 7%, on_alarm: dear, queue: 1, except: {tenant: t}").epoch
    others = [
        made(f"{GOOD}, promise: 98%"),
        made(f"{GOOD}, label: l"),
        made(GOOD, CALIBRATED),
        made(GOOD, "output: p, metric: entropy"),
    ]
    assert 5 == len({epoch, *(each.epoch for each in others)})


def test_answers_that_are_kept_stay_kept() -> None:
    """An audit changes no answer: with another one the cache keeps what it has; with other thresholds it does not."""

    def epoch(audit: str, confidence: str = CLASSES) -> bytes:
        text = policy(audit, confidence).replace(b"    routes:", b"    cache: {ttl: 1m}\n    routes:")
        cache = route_tables(load_policy(text, "p"))["digits"].cache
        assert cache is not None
        return cache.epoch

    assert epoch(GOOD) == epoch("share: 5%, on_alarm: dear")
    assert epoch(GOOD) != epoch(GOOD, "output: p, metric: entropy")
