"""Rollouts that replace nothing, that nothing would stop, or whose sides would mix, are refused."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    variants:
      fast: {backend: triton, model: f, pure: true}
      dear: {backend: triton, model: d, pure: true}
      next: {backend: triton, model: d, version: "2", pure: true}
      last: {backend: triton, model: d, version: "3", pure: true}
      idle: {backend: triton, model: d, version: "4", pure: true}
    routes:
      - {name: gold, match: {tier: gold}, use: dear}
      - name: rest
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.9}, {use: dear}]}
    fallback: {dear: last}
    SHADOWS
    rollouts:
      ROLLOUT
"""
GOOD = "dear: {candidate: next, steps: [{weight: 5%, hold: 1h}], guards: [{metric: error-rate}], proof: time}"


def policy(rollout: str, shadows: str = "") -> bytes:
    """Of no rollout at all if it is ""."""
    whole = POLICY if rollout else POLICY.replace("    rollouts:\n      ROLLOUT\n", "")
    return whole.replace("ROLLOUT", rollout).replace("SHADOWS", shadows).encode()


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        (GOOD.replace("dear:", "deer:"), "unknown variant 'deer' — did you mean 'dear'?"),
        (GOOD.replace("next", "nxt"), "did you mean 'next'?"),
        (GOOD.replace("next", "dear"), "'dear' would be replaced by itself"),
        (GOOD.replace("next", "fast"), "route 'rest' asks both 'dear' and 'fast'"),
        (GOOD.replace("next", "last"), "'last' stands in when another fails"),
        (GOOD.replace("dear:", "idle:"), "replaces nothing: no route asks 'idle'"),
        (f"{GOOD}\n      {GOOD.replace('dear:', 'fast:')}", "'next' is part of another rollout"),
        (GOOD.replace("5%", "0%"), "above 0%"),
        (GOOD.replace("[{weight: 5%", "[{weight: 20%, hold: 1h}, {weight: 5%"), "5% is no more than the 20%"),
        (GOOD.replace("[{weight: 5%, hold: 1h}]", "[]"), "the list is empty"),
        (GOOD.replace(", hold: 1h", ""), "step 1 would end with the first request"),
        (GOOD.replace("[{metric: error-rate}]", "[]"), "the list is empty"),
        (GOOD.replace("error-rate}", "error-rate}, {metric: error-rate}"), "'error-rate' is already on line"),
        (GOOD.replace("error-rate", "eror-rate"), "did you mean 'error-rate'?"),
        (GOOD.replace("proof: time", "alpha: 50%, proof: time"), "at most at 20%"),
        (GOOD.replace("proof: time", "unit: tenent, proof: time"), "did you mean 'tenant'?"),
        (GOOD.replace(", proof: time", ""), "no step could ever end"),
    ],
)
def test_refused(rollout: str, said: str) -> None:
    """One slip, one problem, which says what to do."""
    with pytest.raises(PolicyError) as refused:
        load_policy(policy(rollout), "policy.yaml")
    assert [True] == [said in problem.text("policy.yaml") for problem in refused.value.problems], refused.value.problems


@pytest.mark.parametrize(
    ("rollout", "shadows"),
    [
        (GOOD, ""),
        (GOOD.replace("[{weight: 5%, hold: 1h}]", "[{weight: 100%}]"), ""),
        (GOOD.replace("proof: time", "alpha: 0.01, proof: time"), ""),
        (GOOD.replace("hold: 1h", "samples: 100"), ""),
        (GOOD.replace(", proof: time", ""), "shadows: [{name: dark, of: dear, to: next, fraction: 20%}]"),
    ],
)
def test_taken(rollout: str, shadows: str) -> None:
    """One step is blue-green; samples are enough; with its shadow the mirror is proof."""
    assert load_policy(policy(rollout, shadows), "policy.yaml").models["digits"].rollouts


def test_no_more_than_three() -> None:
    """A planner is made for each set of candidates."""
    names = [f"v{number}" for number in range(8)]
    variants = "\n".join(f"      {name}: {{backend: triton, model: {name}}}" for name in names)
    text = POLICY.replace("      idle", f"{variants}\n      idle").replace(
        "use: dear}\n", "split: {v0: 1, v1: 1, v2: 1, v3: 1}}\n"
    )
    rollouts = "\n      ".join(GOOD.replace("dear:", f"v{number}:").replace("next", f"v{number + 4}") for number in range(4))
    with pytest.raises(PolicyError, match="at most 3"):
        load_policy(text.replace("ROLLOUT", rollouts).replace("SHADOWS", "").encode(), "policy.yaml")
