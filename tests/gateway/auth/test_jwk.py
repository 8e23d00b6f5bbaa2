"""Which published keys may verify tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.jwk import admit, decode_base64url
from gateway.auth.settings import ALGORITHMS, KeySourceError

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer


def test_a_key_of_each_kind_is_bound_to_its_one_algorithm(signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """A published key verifies what its private half signed, and carries the algorithm of its type."""
    key = admit(jwks_of(signer.jwk()), ALGORITHMS)[signer.kid]
    assert signer.algorithm == key.algorithm
    assert key.signed(signer.sign(b"text"), b"text")
    assert not key.signed(signer.sign(b"text"), b"other")
    assert not key.signed(b"", b"text")


def test_a_key_needs_no_use_and_no_alg(signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """`use`, `alg` and `kid` are optional: the type alone fixes the algorithm."""
    jwk = signer.jwk()
    for name in ("use", "alg", "kid"):
        del jwk[name]
    assert signer.algorithm == admit(jwks_of(jwk), ALGORITHMS)[""].algorithm


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"alg": None},
        {"kty": "unheard-of"},
        {"kty": ["RSA"]},
        {"kid": 7},
        {"n": "not base64!"},
        {"n": "ü"},
        {"n": 5},
        {"e": "AQ"},
        {"e": "Aw"},
        {"e": "AQAA"},
    ],
)
def test_a_key_that_is_not_for_verifying_is_left_out(
    changes: dict[str, Any], rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A key with another purpose, algorithm or broken members is left out; its neighbours stay."""
    assert {"ec-1"} == set(admit(jwks_of(rsa_signer.jwk(**changes), ec_signer.jwk()), ALGORITHMS))


@pytest.mark.parametrize("changes", [{"crv": "P-384"}, {"x": "AA"}, {"y": "A" * 43}, {"crv": None}])
def test_a_point_off_the_curve_is_left_out(
    changes: dict[str, Any], rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """Only P-256 with full coordinates on the curve is a key for ES256."""
    assert {"rsa-1"} == set(admit(jwks_of(ec_signer.jwk(**changes), rsa_signer.jwk()), ALGORITHMS))


def test_weak_and_foreign_keys_are_left_out(rsa_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """RSA below 2048 bits and P-384 never verify anything."""
    weak = type(rsa_signer)("RS256", "weak", rsa.generate_private_key(65537, 1024))
    foreign = type(rsa_signer)("ES256", "p384", ec.generate_private_key(ec.SECP384R1()))
    assert {"rsa-1"} == set(admit(jwks_of(weak.jwk(), foreign.jwk(), rsa_signer.jwk()), ALGORITHMS))
    with pytest.raises(KeySourceError, match="no key of the set"):
        admit(jwks_of(weak.jwk(), foreign.jwk()), ALGORITHMS)


def test_only_the_configured_algorithms_count(rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """A key for an algorithm the issuer is not configured for is left out."""
    assert {"ec-1"} == set(admit(jwks_of(rsa_signer.jwk(), ec_signer.jwk()), ("ES256",)))


def test_a_set_with_secrets_is_refused_whole(rsa_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """Shared secrets or private members among public keys spoil the whole set."""
    for spoilt in ({"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, rsa_signer.jwk(kid="other", d="AQAB")):
        with pytest.raises(KeySourceError, match="secret key material"):
            admit(jwks_of(rsa_signer.jwk(), spoilt), ALGORITHMS)


def test_two_keys_of_one_name_are_refused_whole(rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """One kid names one key."""
    with pytest.raises(KeySourceError, match="share one kid"):
        admit(jwks_of(rsa_signer.jwk(), ec_signer.jwk(kid="rsa-1")), ALGORITHMS)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b'{"keys": []}', b"[" * 9000, b"\xff"],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    """Anything but a list of usable keys is one kind of error."""
    with pytest.raises(KeySourceError):
        admit(document, ALGORITHMS)


_words = st.text("aA0_-=é", max_size=8)
_json = st.none() | st.booleans() | st.integers() | _words | st.lists(_words, max_size=2)
_members = st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y"])
_values = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "A" * 43, "sig"]) | _json


@given(st.lists(st.dictionaries(_members, _values), max_size=3))
def test_no_key_set_escapes_the_one_error(keys: list[dict[str, Any]]) -> None:
    """Whatever the members are, a set is admitted or refused, and nothing else happens."""
    try:
        assert admit(json.dumps({"keys": keys}).encode(), ALGORITHMS)
    except KeySourceError:
        pass


@given(st.binary(max_size=40))
def test_strict_base64_reads_what_an_encoder_writes(raw: bytes) -> None:
    """Encoding and decoding are inverse."""
    assert raw == decode_base64url(base64.urlsafe_b64encode(raw).rstrip(b"="))


@pytest.mark.parametrize("text", [b"YQ==", b"YR", b"Y Q", b"YWI\n", b"a+b_", b"a/b_", b"Y", b"YQ.", b"\xffYQ", b"=", b"YQ=YQ"])
def test_sloppy_base64_is_refused(text: bytes) -> None:
    """Padding, stray bits, white space, the other alphabet and impossible lengths are not strict base64url."""
    with pytest.raises(ValueError):
        decode_base64url(text)
