"""An explanation as people read it."""

from __future__ import annotations

import io

import pytest

from gateway.cli.ink import Ink
from gateway.cli.policy.explained import lines
from gateway.configuration.load import load_policy
from gateway.configuration.schema_tests import Caller, Request
from gateway.review.explain import explain
from routing.rollout.units import Holdout, holding

POLICY = b"""
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models:
  digits:
    timeout: 2s
    variants:
      fast: {backend: triton, model: f, cost: 1, timeout: 300ms}
      dear: {backend: triton, model: d, cost: 40, version: "1"}
    routes:
      - {name: gold, match: {tier: gold, rows: 2.., header: {x-a: "1"}}, use: dear, sample: 1%}
      - {name: halves, match: {any: [{tier: free}, {not: {rows: ..9}}]}, split: {fast: 75, dear: 25}, unit: tenant}
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.9}, {use: dear}]}
    fallback: {dear: fast}
"""
DOCUMENT = load_policy(POLICY, "policy.yaml")


def told(sample: Request) -> str:
    return "\n".join(lines(explain(DOCUMENT, sample, "abc"), "policy.yaml", Ink(io.StringIO())))


def test_limits() -> None:
    """Behind the plan: what each limit allows and to whom, or why it does not count this request."""
    limits = b"""
limits:
  - {name: gold, match: {tier: [gold, silver], tenant: acme}, per: tenant, requests: 6000/m, burst: 9}
  - {name: m, per: tenant, concurrency: 4}
  - {name: everybody, bytes: 1MiB/s}
"""
    document = load_policy(POLICY + limits, "policy.yaml")
    said = "\n".join(lines(explain(document, Request("digits", Caller(tier="silver"))), "policy.yaml", Ink(io.StringIO())))
    assert said.endswith(
        """

limits
  ✗ gold       has no tenant, wanted acme
  ✓ m          4 at the same time, for all without a tenant
  ✓ everybody  1MiB/s, for all that it counts"""
    )
    said = "\n".join(lines(explain(document, Request("digits", Caller(tenant="acme"))), "policy.yaml", Ink(io.StringIO())))
    assert "\n  ✓ m          4 at the same time, for tenant 'acme'\n" in said


def test_a_cache() -> None:
    """What the key of a kept answer is made of, a line for each part."""
    document = load_policy(
        POLICY.replace(b"models:\n  digits:\n", b"models:\n  digits:\n    cache: {ttl: 1m, rows: true}\n"), "policy.yaml"
    )
    said = "\n".join(lines(explain(document, Request("digits", Caller(tenant="acme"))), "policy.yaml", Ink(io.StringIO())))
    assert "\n  kept by  whose: tenant 'acme'\n           model: its name and all that this policy says of it (" in said
    assert "\n           inputs: of each row name, datatype, shape and bytes" in said


CASCADE = """\
policy.yaml, version abc
request    digits, tier gold, 2 rows
model      'digits'
authorize  scope models:infer permits it
version    none is asked for

routes
  ✗ gold     has no header.x-a, wanted 1
             (tier gold and rows 2.. holds)
  ✗ halves   none of its 'any' holds (tier is 'gold', wanted free; rows 1..9 holds, and must not)
  ✓ default  no match: it takes everything

plan
  route    default
  deadline 2s for the whole answer, the model's
  ask      fast (triton: f), 1 a row
           at most 300ms for one ask, the variant's
           rows with margin of p of at least 0.9 keep its answer
  then     dear (triton: d version 1), 40 a row
           if it fails: fast
  cost     2 if fast is sure of every row, 82 if nobody is
  layers   deadline → authorize → cascade → fallback  (without effect: limit, cache, budget, coalesce, shadow, audit, rollout)"""

SPLIT = """\

routes
  ✗ gold     tier is 'free', wanted gold
             has no header.x-a, wanted 1
             rows is 1, wanted 2..
  ✓ halves   any of (tier free; not (rows 1..9))
  · default  not reached

split by tenant: nothing in this request decides it
    dear    25 %
    fast    75 %

plan for 25 % of such requests
  route    halves"""


@pytest.mark.parametrize(
    ("sample", "text"),
    [(Request("digits", Caller(tier="gold"), 2), CASCADE), (Request("digits", Caller(tier="free")), SPLIT)],
)
def test_the_whole_text(sample: Request, text: str) -> None:
    """Every decision in its order."""
    assert text in told(sample)


def test_more_of_a_cascade() -> None:
    """What its scores are worth, rows that stay together, and what is asked before its turn."""
    maps = b"calibration: {maps: {'0': [[0, 0.1]], other: [[0, 0.95]]}}"
    text = POLICY.replace(
        b"stages: [{use: fast, accept: 0.9}", b"speculate: 60%, stages: [{use: fast, accept: 0.9, " + maps + b"}"
    )

    def said(text: bytes) -> str:
        request = Request("digits", Caller(tier="gold"), 2)
        return "\n".join(lines(explain(load_policy(text, "policy.yaml"), request), "policy.yaml", Ink(io.StringIO())))

    assert "           rows with margin of p, calibrated, of at least 0.9 keep its answer\n" in said(text)
    assert "  ahead    the next at once, where time is short and 60 % of the rows are expected to need it\n" in said(text)
    together = text.replace(b"model: f,", b"model: f, row_independent: false,")
    assert "           its answer stays if every row has margin of p, calibrated, of at least 0.9\n" in said(together)


def test_a_split_that_is_decided() -> None:
    """The unit, every side's bid, and who won."""
    said = told(Request("digits", Caller(tenant="acme", tier="free")))
    assert "split by tenant 'acme': the lowest bid wins" in said
    (won,) = [line for line in said.splitlines() if line.startswith("  ✓") and "bid" in line]
    assert f"ask      {won.split()[1]} " in said


def test_recorded_and_refused() -> None:
    """The share that is recorded; what a client hears who is refused."""
    assert "  recorded 1 % of such requests" in told(Request("digits", Caller(tier="gold"), 2, {"x-a": "1"}))
    refused = told(Request("digits", version="7"))
    assert "refused\n  answer   400, X-Penstock-Error: version\n  text     route 'default' is a cascade" in refused


def test_mirrored() -> None:
    """To whom, what share, and that a caller's questions never are."""
    pure = POLICY.replace(b"cost: 1,", b"cost: 1, pure: true,").replace(b"cost: 40,", b"cost: 40, pure: true,")
    shadow = b"    shadows: [{name: dark, of: dear, to: fast, fraction: 5%, except: {tenant: shy}}]\n"
    document = load_policy(pure + shadow, "policy.yaml")
    for tenant, expected in (
        ("acme", "5 % of such requests to fast by shadow dark, 100 % of these asked again"),
        ("shy", "not to shadow dark: this caller's questions never are"),
    ):
        request = Request("digits", Caller(tier="gold", tenant=tenant), 2, {"x-a": "1"})
        text = "\n".join(lines(explain(document, request, "abc"), "policy.yaml", Ink(io.StringIO())))
        assert f"  mirrored {expected}" in text
        assert "deadline → authorize → shadow" in text


def test_audited() -> None:
    """What share of the rows that stay, against whom and what is promised; not a caller whose rows never are."""
    audit = b", audit: {share: 1%, on_alarm: dear, except: {tenant: shy}}}\n    fallback"
    text = POLICY.replace(b"}\n    fallback", audit).replace(b"cost: 40,", b"cost: 40, pure: true,")
    document = load_policy(text, "policy.yaml")
    for tenant, expected in (
        ("acme", "1 % of the rows that stay are held against dear; promised 99 % alike; after an alarm dear answers alone"),
        ("shy", "no: this caller's rows never are"),
    ):
        request = Request("digits", Caller(tenant=tenant), 2)
        shown = "\n".join(lines(explain(document, request, "abc"), "policy.yaml", Ink(io.StringIO())))
        assert f"  audited  {expected}" in shown
        assert "deadline → authorize → audit → cascade" in shown


def test_held_out_and_in_a_group() -> None:
    """Of which part of which group a rollout is, and whether this caller is held out of all."""
    rollout = b"""    rollouts:
      dear:
        candidate: other
        unit: tenant
        proof: person
        steps: [{weight: 50%}]
        guards: [{metric: error-rate}]
        group: {name: g, from: 0%, to: 40%}
holdout: {share: 50%}
"""
    variants = POLICY.replace(b"    variants:\n", b"    variants:\n      other: {backend: triton, model: o, cost: 50}\n", 1)
    document = load_policy(variants + rollout, "policy.yaml")
    held = holding(Holdout(0.5, "tenant"))
    for tenant in ("a", "b", "c", "d", "e"):
        request = Request("digits", Caller(tier="gold", tenant=tenant), 2, {"x-a": "1"})
        text = "\n".join(lines(explain(document, request, "abc"), "policy.yaml", Ink(io.StringIO())))
        assert "other in the place of dear for its share of its part of group g, 0 % to 40 %, by tenant" in text
        expected = "this one too: no candidate of any rollout" if held(tenant) else "not this one"
        assert f"held out   50 % by tenant, {expected}" in text
