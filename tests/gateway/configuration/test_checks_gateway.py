"""Tests of gateway.configuration.checks_gateway."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError

ISSUER = "{issuer: a, audience: b, jwks: keys.json}"


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        ("listen: {http: 127.0.0.1:9000, admin: 127.0.0.1:9000}\n", "listen.admin", "port 9000 is taken by http already"),
        ("listen: {http: 0.0.0.0:8082}\n", "listen.admin", "port 8082 is taken by http already"),
        ("auth: {api_keys: null}\n", "auth", "nobody could ever get in"),
        (f"auth: {{jwt: [{ISSUER}, {ISSUER}]}}\n", "auth.jwt[1].issuer", "stands here twice"),
        (
            f"auth: {{jwt: [{ISSUER.replace('}', ', algorithms: [ES256, ES256]}')}]}}\n",
            "auth.jwt[0].algorithms",
            "an algorithm stands here twice",
        ),
    ],
)
def test_senseless(text: str, path: str, what: str) -> None:
    """Two listeners on one port, a door nobody can open and doubled issuers are refused."""
    with pytest.raises(PolicyError) as refused:
        load_gateway(text.encode(), "gateway.yaml")
    (problem,) = refused.value.problems
    assert (path, 1) == (problem.path, problem.line)
    assert what in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "listen: {http: 127.0.0.1:0, grpc: 127.0.0.1:0, admin: 127.0.0.1:0}\n",
        "auth: {api_keys: null, anonymous: true}\n",
        f"auth: {{api_keys: null, jwt: [{ISSUER}]}}\n",
    ],
)
def test_sensible(text: str) -> None:
    """Ports that the system chooses never clash, and one way in is enough."""
    load_gateway(text.encode(), "gateway.yaml")
