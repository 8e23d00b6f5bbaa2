"""A document's shadow becomes routing's own value, whole."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from routing.shadow.compare import Rule
from routing.shadow.shadows import Record, Shadow
from tests.gateway.configuration.test_checks_shadows import policy

WRITTEN = """of: dear, route: rest, to: next, fraction: 20%, noise: 50%, margin: 2%, alpha: 5%, timeout: 1s,
        max_in_flight: 3, queue: 4,
        budget: 60/m, payloads: true, except: {tenant: t, tier: [u]}, compare: {b: exact, a: {json: {$.x: {similarity: 0.5}}},
        c: {top: 3, overlap: 0.1, rbo: 0.2, total_variation: 0.3, jensen_shannon: 0.4, cosine: 0.5,
        atol: 1, rtol: 2, label: true}}"""


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("{metric: margin, output: p, logits: true}", Record("p", "margin", True)),
        ("{metric: 'output:sure', label: y}", Record("sure", "output", label="y")),
        ("{metric: 'json:a.b', output: p}", Record("p", "json", path=("a", "b"))),
        ("{metric: min-logprob, output: p, path: 'tokens[*]'}", Record("p", "min-logprob", path=("tokens", "*"))),
    ],
)
def test_what_is_recorded(written: str, made: Record) -> None:
    """As a cascade's confidence is, and the output of the label."""
    document = load_policy(policy(f"of: dear, to: next, fraction: 20%, record: {written}"), "p")
    ((shadow, _),) = route_tables(document)["digits"].shadows
    assert made == shadow.record


def test_all_of_it() -> None:
    """Every key has its place."""
    ((made, _),) = route_tables(load_policy(policy(WRITTEN), "p"))["digits"].shadows
    all_of_them = Rule(False, False, 1.0, 2.0, True, 3, 0.1, 0.2, 0.3, 0.4, 0.5)
    rules = (("a", Rule(places=(("$.x", Rule(similarity=0.5)),))), ("b", Rule(exact=True)), ("c", all_of_them))
    budget, names = (60.0, 1.0), (frozenset({"t"}), frozenset({"u"}))
    wanted = Shadow("dark", "dear", "next", 0.2, 0.5, 0.02, 0.05, 1.0, 3, 4, budget, True, *names, rules, "rest", made.epoch)
    assert wanted == made
