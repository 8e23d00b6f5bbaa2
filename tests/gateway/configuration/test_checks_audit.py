"""Audits that prove nothing, compare nothing, or ask what must not be asked are refused."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    variants:
      fast: {backend: triton, model: f}
      dear: {backend: triton, model: d, pure: PURE}
    routes:
      - name: rest
        cascade:
          confidence: {CONFIDENCE}
          stages: [{use: fast, accept: 0.9}, {use: dear}]
          audit: {AUDIT}
"""
GOOD = "share: 1%"
CLASSES = "output: p, metric: margin"


def policy(audit: str, confidence: str = CLASSES, pure: str = "true") -> bytes:
    return POLICY.replace("AUDIT", audit).replace("CONFIDENCE", confidence).replace("PURE", pure).encode()


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        ("promise: 99%", "'share' is missing"),
        ("share: 0%", "audits nothing: 0 %"),
        (f"{GOOD}, promise: 100%", "no number of audited rows can prove that"),
        (f"{GOOD}, promise: 1%", "that is no promise"),
        (f"{GOOD}, on_alarm: deer", "did you mean 'dear'?"),
        (f"{GOOD}, label: l, compare: {{p: label}}", "would never be looked at beside compare"),
        (f"{GOOD}, compare: {{p: ignore}}", "leave it out instead"),
        (f"{GOOD}, compare: {{p: {{top: 3}}}}", "how deep overlap and rbo look"),
        (f"{GOOD}, max_in_flight: 0", "models.digits.routes[0].cascade.audit.max_in_flight"),
        (f"{GOOD}, sahre: 1%", "did you mean 'share'?"),
    ],
)
def test_refused(audit: str, said: str) -> None:
    """With its line, and a suggestion where there is one."""
    with pytest.raises(PolicyError) as caught:
        load_policy(policy(audit), "p")
    assert said in str(caught.value)
    assert ":13" in str(caught.value)


def test_a_dearest_stage_that_must_not_be_asked() -> None:
    """Who does not say that asking changes nothing is not asked beside the request."""
    with pytest.raises(PolicyError, match="write pure: true"):
        load_policy(policy(GOOD, pure="false"), "p")


def test_what_must_be_the_same() -> None:
    """A confidence that is not read from classes does not tell what is answered."""
    with pytest.raises(PolicyError, match="'label' is missing: output:sure does not tell"):
        load_policy(policy(GOOD, "metric: output:sure"), "p")
    load_policy(policy(f"{GOOD}, label: l", "metric: output:sure"), "p")
    load_policy(policy(f"{GOOD}, compare: {{l: {{atol: 1}}}}", "metric: output:sure"), "p")
