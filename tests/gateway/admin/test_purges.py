"""What an operator throws away must mean something."""

from __future__ import annotations

import pytest

from gateway.admin.purges import PurgeBody
from gateway.configuration.load import load_policy

POLICY = b"""
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models:
  digits:
    cache: {ttl: 1m, tag: vision}
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: all, use: fast}]
  letters:
    variants: {slow: {backend: triton, model: s}}
    routes: [{name: all, use: slow}]
"""


@pytest.mark.parametrize(
    ("which", "unknown"),
    [
        (PurgeBody(), ""),
        (PurgeBody("digits", "fast", "7", "vision"), ""),
        (PurgeBody(variant="slow"), ""),
        (PurgeBody("numbers"), "model numbers"),
        (PurgeBody("digits", "slow"), "variant slow"),
        (PurgeBody("letters", tag="vision"), "tag vision"),
        (PurgeBody(tag="sound"), "tag sound"),
    ],
)
def test_a_purge_that_can_mean_nothing(which: PurgeBody, unknown: str) -> None:
    """What the policy has not is a mistake; which versions there were only the answers know."""
    assert unknown == which.unknown(load_policy(POLICY, "policy.yaml").models)


def test_a_purge_in_words() -> None:
    """As the audit log has it."""
    assert ("all answers", "answers of model digits, version 3") == (str(PurgeBody()), str(PurgeBody("digits", version="3")))
