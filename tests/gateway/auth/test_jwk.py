"""Which published keys may verify tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.jwk import MAX_KEYS, admit
from gateway.auth.settings import ALGORITHMS, KeySourceError
from gateway.auth.strict import decode_base64url

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer


def encoded(raw: bytes) -> str:
    """base64url as key sets have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_key_of_each_kind_is_bound_to_its_one_algorithm(signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """A published key verifies what its private half signed, and carries the algorithm of its type."""
    key = admit(jwks_of(signer.jwk()), ALGORITHMS).keys[signer.kid]
    assert signer.algorithm == key.algorithm
    assert key.signed(signer.sign(b"text"), b"text")
    assert not key.signed(signer.sign(b"text"), b"other")
    assert not key.signed(b"", b"text")


def test_a_key_needs_no_use_and_no_alg(signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """`use`, `alg` and `kid` are optional: the type alone fixes the algorithm."""
    jwk = signer.jwk()
    for name in ("use", "alg", "kid"):
        del jwk[name]
    assert signer.algorithm == admit(jwks_of(jwk), ALGORITHMS).keys[""].algorithm


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"key_ops": []},
        {"key_ops": ["verify", "verify"]},
        {"key_ops": ["verify", "encrypt"]},
        {"key_ops": ["sign"]},
        {"use": "enc", "key_ops": ["verify"]},
        {"use": None},
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
        {"e": "AQAC"},
        {"e": "AQAAAAE"},
        {"e": ""},
    ],
)
def test_a_key_that_is_not_for_verifying_is_left_out(
    changes: dict[str, Any], rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A key with another purpose, algorithm or broken members is left out; its neighbours stay."""
    assert {"ec-1"} == set(admit(jwks_of(rsa_signer.jwk(**changes), ec_signer.jwk()), ALGORITHMS).keys)


@pytest.mark.parametrize("changes", [{"crv": "P-384"}, {"x": "AA"}, {"y": "A" * 43}, {"crv": None}])
def test_a_point_off_the_curve_is_left_out(
    changes: dict[str, Any], rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """Only P-256 with full coordinates on the curve is a key for ES256."""
    assert {"rsa-1"} == set(admit(jwks_of(ec_signer.jwk(**changes), rsa_signer.jwk()), ALGORITHMS).keys)


def test_a_point_has_its_bytes_where_they_belong(rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """The right 64 bytes with the border moved are another spelling of a key, and no key."""
    point = b"".join(decode_base64url(ec_signer.jwk()[name].encode()) for name in "xy")
    moved = ec_signer.jwk(x=encoded(point[:33]), y=encoded(point[33:]))
    assert {"rsa-1"} == set(admit(jwks_of(moved, rsa_signer.jwk()), ALGORITHMS).keys)


@pytest.mark.parametrize("changes", [{"crv": "X25519"}, {"crv": "Ed448"}, {"crv": None}, {"x": ""}, {"x": "A" * 42}])
def test_another_curve_is_left_out(
    changes: dict[str, Any], rsa_signer: Signer, ed_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """EdDSA means Ed25519 here, in 32 bytes."""
    assert {"rsa-1"} == set(admit(jwks_of(ed_signer.jwk(**changes), rsa_signer.jwk()), ALGORITHMS).keys)


def test_weak_and_foreign_keys_are_left_out(rsa_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """RSA below 2048 bits and P-384 never verify anything."""
    weak = type(rsa_signer)("RS256", "weak", rsa.generate_private_key(65537, 1024))
    foreign = type(rsa_signer)("ES256", "p384", ec.generate_private_key(ec.SECP384R1()))
    assert {"rsa-1"} == set(admit(jwks_of(weak.jwk(), foreign.jwk(), rsa_signer.jwk()), ALGORITHMS).keys)
    with pytest.raises(KeySourceError, match="no key of the set"):
        admit(jwks_of(weak.jwk(), foreign.jwk()), ALGORITHMS)


def test_rsa_moduli_that_nobody_should_use_are_left_out(
    rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """Even, with a small factor, one bit too short, or so long that a signature costs milliseconds."""
    modulus = decode_base64url(rsa_signer.jwk()["n"].encode())
    good = int.from_bytes(modulus, "big")
    for bad in (good - 1, (good // 751) * 751 | 1 << 2047, 3 * 5 * good, good >> 1, good**5, 0, 1):
        jwk = rsa_signer.jwk(n=encoded(bad.to_bytes((bad.bit_length() + 7) // 8, "big")))
        assert {"ec-1"} == set(admit(jwks_of(jwk, ec_signer.jwk()), ALGORITHMS).keys)


P = 2**255 - 19
ROOT = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7  # y of a point of order 8; so is its negative
SMALL_ORDER = [0, 1, P - 1, ROOT, P - ROOT]
TOP = 1 << 255  # the bit that stands for x


@pytest.mark.parametrize("y", [*SMALL_ORDER, *(y | TOP for y in SMALL_ORDER), P, P + 1, TOP - 1, 2, 7])
def test_ed25519_points_that_anybody_can_sign_under_are_left_out(
    y: int, rsa_signer: Signer, ed_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """All points of small order, all ways to write them, and what is no point at all; the library alone takes them."""
    raw = y.to_bytes(32, "little")
    ed25519.Ed25519PublicKey.from_public_bytes(raw)
    jwk = ed_signer.jwk(x=encoded(raw))
    found = admit(jwks_of(jwk, rsa_signer.jwk()), ALGORITHMS)
    assert {"rsa-1"} == set(found.keys)
    assert ("of small order" in found.left_out[0]) == (y % TOP in SMALL_ORDER)


def test_a_small_order_key_would_let_anybody_in(ed_signer: Signer) -> None:
    """Why: under the neutral point, one made-up signature holds for every message, says the library."""
    neutral = (1).to_bytes(32, "little")
    for message in (b"one", b"another"):
        ed25519.Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), message)


@given(st.binary(min_size=32, max_size=32))
def test_honest_ed25519_keys_are_admitted(seed: bytes) -> None:
    """Every key that a library makes is a point of large order."""
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encoded(public)}
    assert {""} == set(admit(json.dumps({"keys": [jwk]}).encode(), ALGORITHMS).keys)


def test_what_is_left_out_is_said(rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """By its kid and the reason, also when nothing remains."""
    weak = rsa_signer.jwk(kid="weak\n", e="AQAC")
    assert ("'weak\\n': an RSA exponent that is not odd, or not 65537 to 2^32",) == (
        admit(jwks_of(weak, ec_signer.jwk()), ALGORITHMS).left_out
    )
    with pytest.raises(KeySourceError, match=r"no key of the set can verify RS256, ES256, EdDSA \('weak"):
        admit(jwks_of(weak), ALGORITHMS)


def test_a_set_is_bounded(ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """Each key costs time on the loop, so nobody may send thousands."""
    keys = [ec_signer.jwk(kid=f"k{number}") for number in range(MAX_KEYS + 1)]
    assert MAX_KEYS == len(admit(jwks_of(*keys[1:]), ALGORITHMS).keys)
    with pytest.raises(KeySourceError, match="more than 64 keys"):
        admit(jwks_of(*keys), ALGORITHMS)


def test_only_the_configured_algorithms_count(rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """A key for an algorithm the issuer is not configured for is left out."""
    assert {"ec-1"} == set(admit(jwks_of(rsa_signer.jwk(), ec_signer.jwk()), ("ES256",)).keys)


def test_a_set_with_secrets_is_refused_whole(rsa_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """Shared secrets or private members among public keys spoil the whole set."""
    secret = [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, {"kty": "oct"}]
    private = [rsa_signer.jwk(kid="other", use="enc", **{member: "AQAB"}) for member in ("d", "p", "q", "dp", "dq", "qi", "oth")]
    for spoilt in (*secret, *private):
        with pytest.raises(KeySourceError, match="secret key material"):
            admit(jwks_of(rsa_signer.jwk(), spoilt), ALGORITHMS)


def test_two_keys_of_one_name_are_refused_whole(rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """One kid names one key."""
    with pytest.raises(KeySourceError, match="share one kid"):
        admit(jwks_of(rsa_signer.jwk(), ec_signer.jwk(kid="rsa-1")), ALGORITHMS)


@pytest.mark.parametrize(
    "document",
    [b'{"keys": [], "keys": []}', b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b'{"keys": []}', b"[" * 9000, b"\xff"],
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
        assert admit(json.dumps({"keys": keys}).encode(), ALGORITHMS).keys
    except KeySourceError:
        pass
