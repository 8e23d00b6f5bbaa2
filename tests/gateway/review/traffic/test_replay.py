"""Deciding about samples: pseudonyms met by pseudonyms, splits by recorded places, and what a sample does not say is counted."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InferenceError
from gateway.configuration.tables import route_tables
from gateway.review.traffic.replay import Replay
from gateway.telemetry.sample import Sample
from routing.match import Split
from routing.plan import Plan
from routing.split import drawing, place
from tests.gateway.review.recorded import POLICY, SALT, document, name, sample

ROUTES = POLICY[: POLICY.index("    routes:")] + "    routes:\n"
LAST = "      - {name: default, use: fast}\n"
SCORED = f"{'a' * 16} text"  # by whom


def replay(*routes: str, head: str = ROUTES) -> Replay:
    """A policy of these routes and a last one."""
    if any("prompt:" in route for route in routes):
        head = head.replace(
            "    routes:", f'    routers: {{hard: {{file: r.json, sha256: "{"a" * 64}", input: text}}}}\n    routes:'
        )
    found = document(head + "".join(f"      - {route}\n" for route in routes) + LAST)
    return Replay(route_tables(found), found.aliases)


def variant(found: Plan | InferenceError) -> str:
    """Who answers first, or why nobody does."""
    return found.reason if isinstance(found, InferenceError) else found.stages[0].target.variant


@pytest.mark.parametrize(
    ("match", "hit", "missed"),
    [
        ("tenant: acme", {"tenant": name("acme")}, {"tenant": name("other")}),
        ("tenant: [a, acme]", {"tenant": name("acme")}, {}),
        ("tier: gold", {"tier": "gold"}, {"tier": "#gold"}),
        ("scope: vip", {"scopes": ("models:infer", "vip")}, {}),
        ("header: {x-a: b}", {"headers": {"x-a": name("b")}}, {"headers": {"x-a": None}}),
        ("parameter: {deep: true}", {"parameters": {"deep": True}}, {"parameters": {"deep": 1}}),
        ("parameter_range: {n: 512..}", {"parameters": {"n": 512}}, {"parameters": {"n": 511}}),
        ("parameter: {mode: slow}", {"parameters": {"mode": name("slow")}}, {"parameters": {"mode": "slow"}}),
        ("rows: 2..3", {"rows": 3}, {"rows": None}),
        ("bytes: 1KiB..", {"bytes": 1024, "looked": ("bytes",)}, {"bytes": 1023, "looked": ("bytes",)}),
        ("priority: ..3", {"priority": 0, "looked": ("priority",)}, {"looked": ("priority",)}),
        ("text_length: {t: 5..}", {"text_length": {"t": 5}}, {"text_length": {"t": None}}),
        ("prompt: {hard: {at_least: 0.62}}", {"prompt": {SCORED: 620_000}}, {"prompt": {SCORED: 619_999}}),
        ("version: '7'", {"version": "7"}, {"version": "8"}),
        ("not: {any: [{tenant: acme}, {tier: gold}]}", {"tenant": name("b")}, {"tenant": name("acme")}),
    ],
)
def test_conditions_meet_what_is_recorded(match: str, hit: dict[str, object], missed: dict[str, object]) -> None:
    """Every condition of the language, of a request that has it and of one that has not; nothing is unknown."""
    found = replay(f"{{name: one, match: {{{match}}}, use: accurate}}")
    assert "accurate" == variant(found.decide(sample(**hit)))
    assert "fast" == variant(found.decide(sample(**missed)))
    assert match.startswith("not") or Counter() == +found.blind or "scope" in match


def test_refusals_are_those_of_the_data_plane() -> None:
    """A model that is no more, a credential that is not for it, a version that no route has."""
    found = replay()
    assert "not-found" == variant(found.decide(sample(model="gone")))
    assert "forbidden" == variant(found.decide(sample(scopes=("models:infer:other",))))
    assert "fast" == variant(found.decide(sample(scopes=("models:infer:digits",))))
    assert "version" == variant(found.decide(sample(version="zero")))
    assert "version" == variant(Replay(route_tables(document()), {}).decide(sample(version="3")))  # a cascade


def test_an_alias_leads_where_the_policy_says() -> None:
    """The name that the client used decides."""
    found = document("aliases: {numbers: digits}\n" + POLICY)
    assert isinstance(Replay(route_tables(found), found.aliases).decide(sample(asked="numbers")), Plan)
    assert "not-found" == variant(Replay(route_tables(found), {}).decide(sample(asked="numbers")))


def test_latest_versions_are_taken_to_be_what_they_were() -> None:
    """Only a backend knows which are the latest: what was refused is refused again, and it is counted."""
    head = ROUTES.replace("timeout: 2s", "timeout: 2s\n    version_policy: latest(2)")
    found = replay(head=head)
    assert "fast" == variant(found.decide(sample(version="3")))
    assert "version" == variant(found.decide(sample(version="3", route="", reason="version")))
    assert 2 == found.guessed


def test_what_a_limit_refused_is_let_through() -> None:
    """What limits would do now nobody can tell from some of the requests; how many it was is counted."""
    found = replay()
    assert "fast" == variant(found.decide(sample(code="429", reason="limited")))
    assert "fast" == variant(found.decide(sample(code="503", reason="max-in-flight")))
    assert 1 == found.limited


SPLIT = "{{name: one, match: {{tier: free}}, split: {{fast: {}, balanced: {}, accurate: {}}}, unit: {}}}"
Weights = tuple[int, int, int]
weights = st.tuples(*[st.integers(0, 9)] * 3).filter(any)


def recorded(unit: str, value: str) -> Sample:
    """A request of that unit, as it is recorded under a policy that splits by it."""
    sides = {side: place(f"digits/one/{side}", value) for side in ("fast", "balanced", "accurate")}
    headers = {"x-user": name(value)} if unit == "header:x-user" else {}
    more = {"tenant": name(value)} if unit == "tenant" else {"subject": name(value)}
    return sample(headers=headers, places={f"one {unit}": sides}, **more)


@given(weights, st.text(min_size=1, max_size=5), st.sampled_from(["tenant", "subject", "header:x-user"]))
def test_a_split_falls_as_it_would_live(now: Weights, value: str, unit: str) -> None:
    """With whatever weights: the place that is recorded decides as the unit itself would."""
    found = replay(SPLIT.format(*now, f"'{unit}'"))
    plan = found.decide(recorded(unit, value))
    sides = list(zip(("fast", "balanced", "accurate"), map(float, now), strict=True))
    assert sides[drawing("digits/one", sides)(value)][0] == variant(plan)
    assert 0 == found.drawn


def test_a_split_by_request_falls_as_it_would_live() -> None:
    """The id is in the sample."""
    found = replay(SPLIT.format(1, 1, 1, "request"))
    live = found._tables["digits"].routes[0].action
    assert isinstance(live, Split)
    for number in range(50):
        draw = drawing("digits/one", [(target.variant, weight) for target, weight in live.shares])
        assert live.shares[draw(f"r{number}")][0].variant == variant(found.decide(sample(request_id=f"r{number}")))
    assert 0 == found.drawn


def test_a_split_that_nobody_knew_of_is_drawn_in_its_shares() -> None:
    """The pseudonym stands in for the unit: sticky, in the right shares, and counted."""
    found = replay(SPLIT.format(75, 25, 0, "tenant"))
    sides = {tenant: variant(found.decide(sample(tenant=name(f"t{tenant}")))) for tenant in range(600)}
    again = {tenant: variant(found.decide(sample(tenant=name(f"t{tenant}")))) for tenant in range(600)}
    assert sides == again
    assert 400 < Counter(sides.values())["fast"] < 500
    assert 1200 == found.drawn


def test_what_a_sample_does_not_say_is_counted() -> None:
    """By what it is, and judged as absent."""
    match = "header: {x-new: a}, parameter: {p: 1}, bytes: 1B.., priority: 0.., text_length: {t: 1..}, prompt: {hard: {below: 1}}"
    found = replay(f"{{name: one, match: {{{match}}}, use: accurate}}")
    assert "fast" == variant(found.decide(sample()))
    wanted = {"header x-new", "parameter p", "bytes", "priority", "text_length t", "prompt hard"}
    assert dict.fromkeys(wanted, 1) == dict(found.blind)


def test_each_salt_has_its_own_names() -> None:
    """Samples of several gateways may stand in one log; very many salts are not held all at once."""
    found = replay("{name: one, match: {tenant: acme}, use: accurate}")
    assert "fast" == variant(found.decide(sample(tenant=name("acme"), salt="11" * 16)))
    for number in range(200):
        found.decide(sample(salt=f"{number:032x}"))
    assert "accurate" == variant(found.decide(sample(tenant=name("acme"), salt=SALT)))
    assert len(found._snapshots) <= 64
