"""The demo's credentials are such as the gateway's own authenticator takes."""

import json
import time
from pathlib import Path

import jwt
import pytest

from backends.errors import ErrorKind, InferenceError
from gateway.auth.authenticator import build
from gateway.auth.settings import AuthSettings, JwtIssuer
from gateway.demo.credentials import ALGORITHM, AUDIENCE, ISSUER, Issuer, api_key
from gateway.spawner import Spawner


async def test_key_and_token_are_let_in_and_strangers_are_not(tmp_path: Path) -> None:
    """With the tier and the tenant they were made for; another issuer's signature is worth nothing."""
    issuer, keys = Issuer(tmp_path / "jwks.json"), tmp_path / "api-keys.yaml"
    free, enterprise = api_key(keys, "free"), api_key(keys, "enterprise")
    accepted = JwtIssuer(ISSUER, AUDIENCE, str(tmp_path / "jwks.json"), (ALGORITHM,))
    spawner = Spawner()
    authenticator = await build(AuthSettings(jwt=(accepted,), api_keys=keys), spawner.spawn)
    now = time.time()
    assert ("free", "enterprise") == (authenticator.check(free, now).tier, authenticator.check(enterprise, now).tier)
    assert "tenant-1" == authenticator.check(issuer.bearer(tenant="tenant-1"), now).tenant
    for stranger in (Issuer().bearer(), issuer.bearer(seconds=-3600), {}):
        with pytest.raises(InferenceError) as refused:
            authenticator.check(stranger, now)
        assert ErrorKind.UNAUTHENTICATED == refused.value.kind
    await spawner.close()


def test_another_implementation_reads_the_token(tmp_path: Path) -> None:
    """PyJWT verifies it with the key set as published: signer and authenticator do not merely share a mistake."""
    token = Issuer(tmp_path / "jwks.json").bearer(tenant="tenant-1")["authorization"].removeprefix("Bearer ")
    key = jwt.PyJWKSet.from_dict(json.loads((tmp_path / "jwks.json").read_text()))[jwt.get_unverified_header(token)["kid"]]
    assert "tenant-1" == jwt.decode(token, key, [ALGORITHM], audience=AUDIENCE, issuer=ISSUER)["tenant"]


def test_no_secret_lies_in_a_file(tmp_path: Path) -> None:
    """Hashes of keys and the public half of the signing key, nothing else."""
    Issuer(tmp_path / "jwks.json")
    key = api_key(tmp_path / "api-keys.yaml", "free")["x-api-key"]
    assert key not in (tmp_path / "api-keys.yaml").read_text()
    assert '"d"' not in (tmp_path / "jwks.json").read_text()
