"""Who would be answered by whom, in words."""

from __future__ import annotations

import pytest

from gateway.configuration.tables import route_tables
from gateway.review.traffic.moves import Moves, Part, happens, tenants
from gateway.telemetry.sample import Sample
from tests.gateway.review.recorded import POLICY, document, gold, name, sample, treatment

REFUSED = sample(version="3")
RATHER_FAST = POLICY.replace("use: accurate}\n", "use: fast}\n")


def moves(new: str, *samples: Sample, names: tuple[str, ...] = ()) -> Moves:
    """All taken."""
    found = Moves(treatment(), treatment(new), names)
    for each in samples:
        found.take(each)
    return found


@pytest.mark.parametrize(
    ("change", "sample", "words"),
    [
        (("use: accurate}\n", "use: fast}\n"), gold(), "move from accurate to fast"),
        (("{use: balanced, accept: 0.8}, ", ""), sample(), "move from fast→balanced→accurate to fast→accurate"),
        (("accept: 0.8", "accept: 0.7"), sample(), "go up fast→balanced→accurate by other thresholds"),
        (("metric: margin", "metric: entropy"), sample(), "go up fast→balanced→accurate by other thresholds"),
        (("model: a,", "model: a2,"), gold(), "stay with accurate, of which another model answers"),
        (("name: gold,", "name: best,"), gold(), "take route best, not gold, to accurate"),
        (("timeout: 2s", "timeout: 3s"), gold(), "stay with accurate under another timeout"),
        (("digits:", "letters:"), gold(), "are refused (not-found), no longer answered by accurate"),
        (("digits:", "letters:"), REFUSED, "are refused for not-found, not version"),
        (("match: {tier: gold}", "match: {version: '3'}"), REFUSED, "are answered by accurate, no longer refused (version)"),
        (("timeout: 2s", "timeout: 3s"), REFUSED, ""),
        (("cost: 40", "cost: 44"), gold(), ""),
    ],
)
def test_what_happens_in_words(change: tuple[str, str], sample: Sample, words: str) -> None:
    """Each way in which a request may be treated otherwise; prices are no treatment."""
    assert words == happens(treatment().decided(sample), treatment(POLICY.replace(*change)).decided(sample))


def test_shares_by_tier_tenant_and_model() -> None:
    """Those first of which most changes; tenants that a policy speaks of by their names."""
    asked = [gold(tenant=name("acme")), gold(tenant=name("acme"), share=0.5), sample(tenant=name("zeta")), sample()]
    found = moves(RATHER_FAST, *asked, names=("acme",))
    parts: dict[str, list[Part]] = {}
    for part in found.parts():
        parts.setdefault(part.kind, []).append(part)
    assert ["gold", "free"] == [part.name for part in parts["tier"]]
    assert ("acme", {"(none)", name("zeta")}) == (parts["tenant"][0].name, {part.name for part in parts["tenant"][1:]})
    moved = parts["tier"][0]
    assert (3.0, 2, 3.0, 2, "move from accurate to fast") == (
        moved.requests,
        moved.samples,
        moved.moved[0].requests,
        moved.moved[0].samples,
        moved.moved[0].what,
    )
    assert () == parts["tier"][1].moved
    assert (5.0, 4) == (found.whole().requests, found.whole().samples)


def test_tenants_that_policies_speak_of() -> None:
    """Wherever in a match they stand."""
    text = POLICY.replace("match: {tier: gold}", "match: {any: [{tenant: a}, {not: {tenant: [b, c]}}], tenant: d}")
    assert {"a", "b", "c", "d"} == tenants(route_tables(document(text)))
