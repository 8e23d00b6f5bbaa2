"""Keys that come and go at their issuer, seen from a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from backends.errors import ErrorKind, InferenceError
from gateway.auth.authenticator import Authenticator, build
from gateway.auth.jwks import UNKNOWN_GAP, UNKNOWN_PERIOD, Clock
from gateway.auth.settings import AuthSettings, JwtIssuer
from routing.principal import Principal
from tests.gateway.auth.conftest import Issuer

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer, Spawner, Ticker

NOW = 1_800_000_000.0
ALICE = Principal("alice")


def bearer(token: str) -> dict[str, str]:
    """The header that shows it."""
    return {"authorization": f"Bearer {token}"}


def refusal(authenticator: Authenticator, headers: dict[str, str]) -> tuple[ErrorKind, str]:
    """Kind and reason of the error these headers get."""
    with pytest.raises(InferenceError) as caught:
        authenticator.check(headers, NOW)
    return caught.value.kind, caught.value.reason


async def test_the_first_request_waits_for_the_first_fetch(
    spawn: Spawner, ed_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A start does not wait for issuers; a request that needs the key does, sharing the fetch under way."""
    issuer = Issuer(jwks_of(ed_signer.jwk()))
    url = await issuer.start()
    issuer.release.clear()
    authenticator = await build(AuthSettings(jwt=(JwtIssuer("https://id.test", "penstock", url),)), spawn, environ={})
    headers = {"authorization": f"Bearer {ed_signer.token()}"}
    assert refusal(authenticator, headers) == (ErrorKind.UNAVAILABLE, "issuer-unavailable")
    asking = [asyncio.ensure_future(authenticator.authenticate(headers, NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.release.set()
    assert await asyncio.gather(*asking) == [ALICE] * 50
    assert issuer.fetches == 1
    await issuer.runner.cleanup()


async def test_a_rotated_key_is_live_at_its_first_token_and_storms_are_not(
    spawn: Spawner, ticker: Ticker, ed_signer: Signer, rsa_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """New keys work at once, withdrawn ones stop even for remembered tokens, unknown names cost one fetch, absence none."""
    issuer = Issuer(jwks_of(ed_signer.jwk()))
    url = await issuer.start()
    settings = AuthSettings(jwt=(JwtIssuer("https://id.test", "penstock", url),))
    authenticator = await build(settings, spawn, Clock(ticker.now, ticker.sleep), {})
    old, new = ({"authorization": f"Bearer {each.token()}"} for each in (ed_signer, rsa_signer))
    assert await authenticator.authenticate(old, NOW) == ALICE
    issuer.document = jwks_of(rsa_signer.jwk())
    assert await authenticator.authenticate(new, NOW) == ALICE
    assert refusal(authenticator, old) == (ErrorKind.UNAUTHENTICATED, "unknown-key")
    fetched = issuer.fetches
    storm = [
        authenticator.authenticate(
            {"authorization": f"Bearer {rsa_signer.token(header={'alg': 'RS256', 'kid': f'k{number}'})}"}, NOW
        )
        for number in range(200)
    ]
    ticker.move(UNKNOWN_PERIOD)
    outcomes = await asyncio.gather(*storm, return_exceptions=True)
    assert {"unknown-key"} == {outcome.reason for outcome in outcomes if isinstance(outcome, InferenceError)}
    assert 200 == len([outcome for outcome in outcomes if isinstance(outcome, InferenceError)])
    assert fetched + 1 == issuer.fetches
    await issuer.runner.cleanup()
    ticker.move(UNKNOWN_PERIOD)
    with pytest.raises(InferenceError):
        await authenticator.authenticate(old, NOW)
    assert await authenticator.authenticate({"authorization": f"bearer {rsa_signer.token()}"}, NOW) == ALICE


@pytest.mark.parametrize("named", [True, False])
async def test_a_key_in_the_place_of_another_is_live_at_its_first_token(
    named: bool, spawn: Spawner, ticker: Ticker, ed_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A new key under the old one's name, or where keys have none, holds at once; forged tokens cost the issuer one fetch."""
    old = ed_signer
    new = replace(old, private=ed25519.Ed25519PrivateKey.generate())
    forger = replace(old, private=ed25519.Ed25519PrivateKey.generate())

    def published(signer: Signer) -> bytes:
        jwk = signer.jwk()
        return jwks_of(jwk if named else {name: value for name, value in jwk.items() if name != "kid"})

    def shown(signer: Signer, subject: str) -> dict[str, str]:
        return bearer(signer.token({"sub": subject}, header={"alg": "EdDSA", **({"kid": old.kid} if named else {})}))

    issuer = Issuer(published(old))
    settings = AuthSettings(jwt=(JwtIssuer("https://id.test", "penstock", await issuer.start()),))
    authenticator = await build(settings, spawn, Clock(ticker.now, ticker.sleep), {})
    assert ALICE == await authenticator.authenticate(shown(old, "alice"), NOW)
    issuer.document = published(new)
    assert Principal("bob") == await authenticator.authenticate(shown(new, "bob"), NOW)
    with pytest.raises(InferenceError):
        await authenticator.authenticate(shown(old, "alice"), NOW)
    fetched = issuer.fetches
    ticker.move(UNKNOWN_GAP)
    for number in range(50):
        with pytest.raises(InferenceError):
            await authenticator.authenticate(shown(forger, f"eve{number}"), NOW)
    assert fetched + 1 == issuer.fetches
    await issuer.runner.cleanup()
