"""Credentials that the measurements show, read by implementations that did not make them."""

import json
from pathlib import Path

import jwt
import pytest

from gateway.auth.api_keys import ApiKeys
from loadtest import credentials, penstock


def test_tokens_are_rs256_by_an_implementation_that_is_not_ours(tmp_path: Path) -> None:
    """All different, each verified by the published key, for the audience and scope that the configuration asks for."""
    jwks = tmp_path / "jwks.json"
    made = credentials.bearers(jwks, 2)
    key = jwt.PyJWK(json.loads(jwks.read_text())["keys"][0])
    tokens = [dict(each)["Authorization"].removeprefix("Bearer ") for each in made]
    claims = [jwt.decode(token, key, ["RS256"], audience="penstock", issuer=credentials.ISSUER) for token in tokens]
    assert 2 == len(set(tokens))
    assert ["models:infer", "models:infer"] == [each["scope"] for each in claims]


@pytest.mark.slow
def test_an_api_key_holds(tmp_path: Path) -> None:
    """The gateway's own reader finds it in the file that `penstock keys new` wrote."""
    made = dict(credentials.api_key(penstock.COMMAND, tmp_path / "keys.yaml"))
    principal, _ = ApiKeys(tmp_path / "keys.yaml").verify(made["X-API-Key"], 1.0)
    assert ("bench", "gold") == (principal.subject, principal.tier)
