"""Shadows that mirror nothing, ask twice what must not be, or compare with rules that say nothing are refused."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.tables import route_tables

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    variants:
      fast: {backend: triton, model: f, pure: true}
      dear: {backend: triton, model: d, pure: true}
      next: {backend: triton, model: d, version: "2", pure: true}
      wild: {backend: triton, model: w}
    routes:
      - {name: gold, match: {tier: gold}, use: dear}
      - name: rest
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.9}, {use: dear}]}
    shadows:
      - {name: dark, SHADOW}
"""
GOOD = "of: dear, to: next, fraction: 20%"


def policy(shadow: str) -> bytes:
    return POLICY.replace("SHADOW", shadow).encode()


@pytest.mark.parametrize(
    ("shadow", "said"),
    [
        ("of: deer, to: next, fraction: 20%", "unknown variant 'deer' — did you mean 'dear'?"),
        ("of: dear, to: nxt, fraction: 20%", "did you mean 'next'?"),
        ("route: goold, to: next, fraction: 20%", "did you mean 'gold'?"),
        ("of: dear, to: dear, fraction: 20%", "'dear' is the original itself"),
        ("route: gold, to: dear, fraction: 20%", "'dear' is all that route 'gold' asks"),
        ("to: next, fraction: 20%", "mirrors nothing: name the variant whose questions are mirrored (of), or a route"),
        ("of: next, to: dear, fraction: 20%", "mirrors nothing: no route asks 'next'"),
        ("of: fast, route: gold, to: next, fraction: 20%", "mirrors nothing: route 'gold' does not ask 'fast'"),
        ("of: dear, to: wild, fraction: 20%", "'wild' would be asked more than once about one question"),
        ("of: dear, to: next, fraction: 0%", "mirrors nothing: 0 %"),
        ("of: dear, to: next, fraction: 120%", "models.digits.shadows[0].fraction"),
        ("of: dear, to: next", "'fraction' is missing"),
        (f"{GOOD}, noise: 0%", "without a second answer of the primary"),
        (f"{GOOD}, margin: 0%", "no number of questions can show"),
        (f"{GOOD}, alpha: 50%", "at most at 20%"),
        (f"{GOOD}, compare: {{p: exakt}}", "did you mean 'exact'?"),
        (f"{GOOD}, compare: {{p: {{exact: true, atol: 1}}}}", "atol would never be looked at beside exact"),
        (f"{GOOD}, compare: {{p: {{exact: false}}}}", "says nothing"),
        (f"{GOOD}, compare: {{p: {{cosine: 99}}}}", "did you mean '0.99'?"),
        (f"{GOOD}, compare: {{p: {{top: 3}}}}", "how deep overlap and rbo look"),
        (f"{GOOD}, compare: {{p: {{top: 300, rbo: 0.5}}}}", "from 1 to 100"),
        (f"{GOOD}, compare: {{p: {{similarity: 0.9, atol: 1}}}}", "is of texts, and atol of numbers"),
        (f"{GOOD}, compare: {{p: {{json: {{score: exact}}}}}}", "did you mean '$.score'?"),
        (f"{GOOD}, compare: {{p: {{json: {{$.score: label}}}}}}", "has no meaning within a JSON document"),
        (f"{GOOD}, record: {{metric: margn, output: p}}", "did you mean 'margin'?"),
        (f"{GOOD}, record: {{metric: margin}}", "'output' is missing: which output is margin read from?"),
        (f"{GOOD}, record: {{metric: margin, output: p, acept: 1}}", "unknown key 'acept'"),
        (
            "of: dear, route: rest, to: fast, fraction: 1%, record: {metric: margin, output: p}",
            "models.digits.shadows[0].record: records nothing: route 'rest' is a cascade",
        ),
        (f"{GOOD}, budget: 5", "did you mean '5/s'?"),
        (f"{GOOD}, mix: 1", "unknown key 'mix'"),
        (f"{GOOD}}}\n      - {{name: dark, {GOOD}", "'dark' is already on line"),
    ],
)
def test_what_is_refused(shadow: str, said: str) -> None:
    """With its place, and what was probably meant."""
    with pytest.raises(PolicyError) as refused:
        load_policy(policy(shadow), "policy.yaml")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "shadow",
    [
        GOOD,
        "route: rest, to: fast, fraction: 1%",
        f"{GOOD}, record: {{metric: 'json:score', output: p, label: q}}",
        "of: dear, route: rest, to: fast, fraction: 1%",
        f"{GOOD}, compare: {{p: {{top: 3, rbo: 0.9, atol: 0.1}}, q: label, r: {{json: {{$.a: ignore, '$.b[*]': {{atol: 1}}}}}}}}",
        f"{GOOD}, except: {{tenant: [a, b], tier: trial}}, budget: 100/h, payloads: true, timeout: 1s",
    ],
)
def test_what_is_taken(shadow: str) -> None:
    """Of a variant, of a route, of both; with rules of all kinds."""
    ((made, target),) = route_tables(load_policy(policy(shadow), "policy.yaml"))["digits"].shadows
    assert ("dark", made.to) == (made.name, target.variant)
    assert made.epoch


@pytest.mark.parametrize(
    ("written", "slip", "said"),
    [
        ("model: f, pure: true", "model: f, pur: true", "did you mean 'pure'?"),
        ("model: f, pure: true", "model: f, pure: yes", "did you mean 'true'?"),
        ("metric: margin", "metric: margn", "did you mean 'margin'?"),
    ],
)
def test_a_slip_elsewhere_is_one_problem(written: str, slip: str, said: str) -> None:
    """Of a variant or route that could not be read wholly, nobody says that it is not pure or asks nobody."""
    with pytest.raises(PolicyError) as refused:
        load_policy(policy("of: fast, to: next, fraction: 20%").replace(written.encode(), slip.encode(), 1), "policy.yaml")
    (problem,) = refused.value.problems
    assert said in problem.text("policy.yaml")


def test_whoever_is_not_asked_again_need_not_be_pure() -> None:
    """The other side of a split."""
    split = POLICY.replace("tier: gold}, use: dear", "tier: gold}, split: {dear: 1, wild: 1}")
    load_policy(split.replace("SHADOW", GOOD).encode(), "policy.yaml")
    with pytest.raises(PolicyError, match="'wild' would be asked more than once"):
        load_policy(split.replace("SHADOW", "route: gold, to: next, fraction: 1%").encode(), "policy.yaml")


def test_the_epoch_stands_for_what_is_compared_with_what() -> None:
    """How many are mirrored makes no difference to what was counted; who is asked, and what is the same, do."""

    def epoch(shadow: str) -> str:
        return route_tables(load_policy(policy(shadow), "policy.yaml"))["digits"].shadows[0][0].epoch

    assert epoch(GOOD) == epoch(f"{GOOD.replace('20', '30')}, noise: 50%, timeout: 1s")
    assert 4 == len(
        {epoch(each) for each in (GOOD, GOOD.replace("next", "fast"), f"{GOOD}, route: gold", f"{GOOD}, compare: {{p: exact}}")}
    )


def test_a_shadow_empties_no_cache() -> None:
    """What is asked beside changes no answer."""
    cached = "    timeout: 2s\n    cache: {ttl: 1m}\n    routes:"
    one, other = (policy(each).decode().replace("    routes:", cached) for each in (GOOD, GOOD.replace("20", "30")))
    epochs = [route_tables(load_policy(each.encode(), "p"))["digits"].cache for each in (one, other)]
    assert epochs[0] == epochs[1] is not None
