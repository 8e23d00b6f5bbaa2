"""What raw PyJWT accepts and this gateway refuses: why tokens are verified by code of our own, over the same cryptography.

Each attack is signed by the issuer's own key, so that nothing but the rule itself can refuse it. Ideas from RFC 8725, RFC 7515
and 7517 to 7519, and from what Project Wycheproof tries on JWS and Ed25519. The tables say what PyJWT 2.15 does when called as
its manual has it, with a fixed algorithm, audience and issuer; if a later one does better, the tests say so.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from backends.errors import InferenceError
from gateway.auth.jwk import admit
from gateway.auth.jwt import TokenVerifier, TrustedIssuer
from gateway.auth.settings import ALGORITHMS, Claims, KeySourceError
from tests.gateway.auth.conftest import Found

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer

NOW = int(time.time())  # PyJWT's clock cannot be told the time
GOOD: Mapping[str, Any] = {"iss": "https://id.test", "aud": "penstock", "sub": "alice", "exp": NOW + 600}
Made = Callable[..., bytes]


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def claims(**changes: Any) -> bytes:
    """Claims as they are written; None takes one away."""
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value is not None}).encode()


HEAD = b'{"alg":"EdDSA","kid":"ed-1"}'
UNIQUE = claims()[:-1]  # without the closing brace

# what: header, claims, and whether PyJWT accepts it
ATTACKS: dict[str, tuple[bytes, bytes, bool]] = {
    "no exp": (HEAD, claims(exp=None), True),
    "exp as text": (HEAD, claims(exp=str(NOW + 600)), True),
    "exp with a fraction": (HEAD, claims(exp=NOW + 600.5), True),
    "exp in ten years": (HEAD, claims(exp=NOW + 315_360_000), True),
    "exp beyond all calendars": (HEAD, claims(exp=10**300), True),
    "exp is true": (HEAD, claims(exp=True), False),
    "exp is Infinity": (HEAD, UNIQUE.replace(str(NOW + 600).encode(), b"Infinity") + b"}", False),
    "nbf is true": (HEAD, claims(nbf=True), True),
    "nbf as text": (HEAD, claims(nbf="1"), True),
    "iat as text": (HEAD, claims(iat="1"), True),
    "iat is minus infinity": (HEAD, UNIQUE + b',"iat":-1e999}', False),
    "no subject": (HEAD, claims(sub=None), True),
    "subject with a line end": (HEAD, claims(sub="alice\nadmin"), True),
    "audience not all text": (HEAD, claims(aud=["penstock", 5]), False),
    "issuer in a list": (HEAD, claims(iss=["https://id.test"]), False),
    "a claim twice": (HEAD, UNIQUE + b',"sub":"eve"}', True),
    "a claim twice, one of them escaped": (HEAD, UNIQUE + b',"s\\u0075b":"eve"}', True),
    "alg twice": (b'{"alg":"none","alg":"EdDSA","kid":"ed-1"}', claims(), True),
    "claims in UTF-16": (HEAD, claims().decode().encode("utf-16"), True),
    "claims behind a byte order mark": (HEAD, b"\xef\xbb\xbf" + claims(), True),
    "claims of 12 KiB": (HEAD, claims(pad="x" * 12_000), True),
    "claims 2000 deep": (HEAD, UNIQUE + b',"a":' + b"[" * 2000 + b"]" * 2000 + b"}", False),
    "its own key": (b'{"alg":"EdDSA","kid":"ed-1","jwk":{"kty":"OKP"}}', claims(), True),
    "its own certificate": (b'{"alg":"EdDSA","kid":"ed-1","x5c":["MII"]}', claims(), True),
    "its key's address": (b'{"alg":"EdDSA","kid":"ed-1","jku":"https://evil.test"}', claims(), True),
    "its certificate's address": (b'{"alg":"EdDSA","kid":"ed-1","x5u":"https://evil.test"}', claims(), True),
    "an unknown extension": (b'{"alg":"EdDSA","kid":"ed-1","crit":["x"],"x":1}', claims(), False),
    "an empty crit": (b'{"alg":"EdDSA","kid":"ed-1","crit":[]}', claims(), False),
    "b64 that nobody need heed": (b'{"alg":"EdDSA","kid":"ed-1","b64":true}', claims(), True),
    "another kind of token": (b'{"alg":"EdDSA","kid":"ed-1","typ":"secevent+jwt"}', claims(), True),
    "a kid that is no text": (b'{"alg":"EdDSA","kid":1}', claims(), False),
}
# The same good token, spelt in another way.
SPELLINGS: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "padding": (lambda token: token + b"==", True),
    "half a padding": (lambda token: token + b"=", False),
    "a line end": (lambda token: token + b"\n", False),
    "a space within": (lambda token: token[:-5] + b" " + token[-5:], False),
    "stray bits at the end": (lambda token: token[:-1] + chr(token[-1] + 1).encode(), False),
    "the JSON serialisation": (
        lambda token: json.dumps(
            dict(zip(("protected", "payload", "signature"), token.decode().split("."), strict=True))
        ).encode(),
        False,
    ),
    "a fourth part": (lambda token: token + b".", False),
}


def signed(signer: Signer, header: bytes, body: bytes) -> bytes:
    """A compact token of exactly these bytes."""
    text = b64(header) + b"." + b64(body)
    return text + b"." + b64(signer.sign(text))


@pytest.fixture
def accepted_here(ed_signer: Signer, jwks_of: Made) -> Callable[[bytes], bool]:
    """Whether the gateway believes a token."""
    issuer = TrustedIssuer("penstock", ALGORITHMS, Found(admit(jwks_of(ed_signer.jwk()), ALGORITHMS).keys))
    verifier = TokenVerifier({"https://id.test": issuer}, Claims())

    def accepted(token: bytes) -> bool:
        try:
            return verifier.verify(token, NOW)[0].subject == "alice"
        except InferenceError:
            return False

    return accepted


@pytest.fixture
def accepted_there(ed_signer: Signer) -> Callable[[bytes], bool]:
    """Whether PyJWT does."""
    assert isinstance(ed_signer.private, ed25519.Ed25519PrivateKey)
    public = ed_signer.private.public_key()

    def accepted(token: bytes) -> bool:
        try:
            pyjwt.decode(token, public, algorithms=["EdDSA"], audience="penstock", issuer="https://id.test")
        except (pyjwt.InvalidTokenError, RecursionError, UnicodeError):
            return False
        return True

    return accepted


def test_the_good_token_is_believed_by_both(
    ed_signer: Signer, accepted_here: Callable[[bytes], bool], accepted_there: Callable[[bytes], bool]
) -> None:
    """Else the rest would show nothing."""
    good = signed(ed_signer, HEAD, claims())
    assert (True, True) == (accepted_here(good), accepted_there(good))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack(
    attack: str, ed_signer: Signer, accepted_here: Callable[[bytes], bool], accepted_there: Callable[[bytes], bool]
) -> None:
    """Refused here; there as the table says."""
    header, body, accepted = ATTACKS[attack]
    token = signed(ed_signer, header, body)
    assert (False, accepted) == (accepted_here(token), accepted_there(token))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_of_a_good_token(
    spelling: str, ed_signer: Signer, accepted_here: Callable[[bytes], bool], accepted_there: Callable[[bytes], bool]
) -> None:
    """A token has one spelling here."""
    respell, accepted = SPELLINGS[spelling]
    token = respell(signed(ed_signer, HEAD, claims()))
    assert (False, accepted) == (accepted_here(token), accepted_there(token))


def short(signer: Signer) -> list[dict[str, Any]]:
    modulus = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
    return [{"kty": "RSA", "kid": "k", "e": "AQAB", "n": b64(modulus.to_bytes(128, "big")).decode()}]


# Sets of which no key may verify anything here; PyJWT makes keys of all of them.
SETS: dict[str, Callable[[Signer], list[dict[str, Any]]]] = {
    "RSA of 1024 bits": short,
    "a point of small order": lambda signer: [signer.jwk(x=b64(bytes([1]) + bytes(31)).decode())],
    "a point written in another way": lambda signer: [signer.jwk(x=b64((2**255 - 19 + 3).to_bytes(32, "little")).decode())],
    "a key for encryption": lambda signer: [signer.jwk(use="enc")],
    "a key to sign with": lambda signer: [signer.jwk(key_ops=["sign"])],
    "one kid twice": lambda signer: [signer.jwk(), signer.jwk()],
    "a shared secret beside it": lambda signer: [signer.jwk(), {"kty": "oct", "k": "c2VjcmV0" * 6, "alg": "HS256", "kid": "s"}],
    "its private half": lambda signer: [signer.jwk(d=b64(private(signer)).decode())],
}


def private(signer: Signer) -> bytes:
    assert isinstance(signer.private, ed25519.Ed25519PrivateKey)
    return signer.private.private_bytes_raw()


@pytest.mark.parametrize("what", SETS)
def test_a_key_set(what: str, ed_signer: Signer, jwks_of: Made) -> None:
    """PyJWT takes it; the gateway takes no key of it."""
    keys = SETS[what](ed_signer)
    assert len(keys) == len(pyjwt.PyJWKSet.from_dict({"keys": keys}).keys)
    with pytest.raises(KeySourceError):
        admit(jwks_of(*keys), ALGORITHMS)


@pytest.mark.parametrize("changes", [{"use": "enc"}, {"key_ops": ["sign"]}])
def test_pyjwt_verifies_with_a_key_for_something_else(changes: dict[str, Any], ed_signer: Signer) -> None:
    """Why: it does not look at what a key is for when it verifies."""
    key = pyjwt.PyJWK(ed_signer.jwk(**changes))
    token = signed(ed_signer, HEAD, claims())
    assert "alice" == pyjwt.decode(token, key, algorithms=["EdDSA"], audience="penstock", issuer="https://id.test")["sub"]
