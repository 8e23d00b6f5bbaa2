"""Signatures that hold, changed into others that a lax reader would let hold too: each is refused. After Project Wycheproof."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.errors import InferenceError
from gateway.auth.jwk import VerifyKey, admit
from gateway.auth.jwt import TokenVerifier, TrustedIssuer
from gateway.auth.settings import ALGORITHMS, Claims
from tests.gateway.auth.conftest import Found

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer

SIGNED = b"what is signed"
ORDER_25519 = 2**252 + 27742317777372353535851937790883648493
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Made = Callable[..., bytes]


def key_of(signer: Signer, jwks_of: Made) -> VerifyKey:
    """Its public half, as admitted."""
    return admit(jwks_of(signer.jwk()), ALGORITHMS).keys[signer.kid]


def test_ed25519(ed_signer: Signer, jwks_of: Made) -> None:
    """S beyond the group's order (the same signature once more), cut off, prolonged, of nobody, its halves swapped."""
    key, good = key_of(ed_signer, jwks_of), ed_signer.sign(SIGNED)
    point, number = good[:32], int.from_bytes(good[32:], "little")
    assert key.signed(good, SIGNED)
    beyond = [(number + times * ORDER_25519).to_bytes(32, "little") for times in (1, 2)]
    for bad in (*(point + each for each in beyond), good[:-1], good + b"\0", bytes(64), good[32:] + point, b"\xff" * 64):
        assert not key.signed(bad, SIGNED)


def test_p256(ec_signer: Signer, jwks_of: Made) -> None:
    """Numbers beyond the order, zero, in DER, of other lengths, swapped."""
    key, good = key_of(ec_signer, jwks_of), ec_signer.sign(SIGNED)
    r, s = int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big")
    assert key.signed(good, SIGNED)

    def raw(first: int, second: int) -> bytes:
        return (first % 2**256).to_bytes(32, "big") + (second % 2**256).to_bytes(32, "big")

    odd = [raw(0, 0), raw(0, s), raw(r, 0), raw(1, 1), raw(r, ORDER_P256), raw(ORDER_P256, s), raw(s, r), raw(r + ORDER_P256, s)]
    for bad in (*odd, utils.encode_dss_signature(r, s), good[:-1], good + b"\0", b"\0" + good, good[:32] + b"\0" + good[32:]):
        assert not key.signed(bad, SIGNED)


def test_rsa(rsa_signer: Signer, jwks_of: Made) -> None:
    """Another padding or hash, a number beyond the modulus, zeros before it or lost, a signature of the text itself."""
    private = rsa_signer.private
    assert isinstance(private, rsa.RSAPrivateKey)
    key, good = key_of(rsa_signer, jwks_of), rsa_signer.sign(SIGNED)
    modulus, number = private.public_key().public_numbers().n, int.from_bytes(good, "big")
    assert key.signed(good, SIGNED)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    others = [private.sign(SIGNED, padding.PKCS1v15(), kind) for kind in (hashes.SHA1(), hashes.SHA384(), hashes.SHA512())]
    for bad in (
        *others,
        private.sign(SIGNED, pss, hashes.SHA256()),
        (number + modulus).to_bytes(257, "big"),
        b"\0" + good,
        good[1:],
        (1).to_bytes(256, "big"),
        bytes(256),
        b"",
    ):
        assert not key.signed(bad, SIGNED)


def test_another_curve_s_signature(ec_signer: Signer, jwks_of: Made) -> None:
    """The same algorithm's name over P-384 or secp256k1 is another key's."""
    key = key_of(ec_signer, jwks_of)
    for curve in (ec.SECP384R1(), ec.SECP256K1()):
        r, s = utils.decode_dss_signature(ec.generate_private_key(curve).sign(SIGNED, ec.ECDSA(hashes.SHA256())))
        size = (curve.key_size + 7) // 8
        assert not key.signed(r.to_bytes(size, "big") + s.to_bytes(size, "big"), SIGNED)


NOW = 1_800_000_000.0


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(draw=st.data())
def test_any_other_byte_is_refused(draw: st.DataObject, ed_signer: Signer, jwks_of: Made) -> None:
    """Of a token that holds, no byte can be changed, left out, doubled or put in."""
    verifier = TokenVerifier(
        {"https://id.test": TrustedIssuer("penstock", ALGORITHMS, Found({ed_signer.kid: key_of(ed_signer, jwks_of)}))}, Claims()
    )
    good = ed_signer.token().encode()
    verifier.verify(good, NOW)
    at = draw.draw(st.integers(0, len(good)), "at")
    put = draw.draw(st.binary(max_size=2) | st.sampled_from([b"=", b".", b"A", b"_", b" ", good[at : at + 1] * 2]), "put")
    changed = good[:at] + put + good[at + draw.draw(st.integers(0, 2), "left out") :]
    if changed != good:
        with pytest.raises(InferenceError):
            verifier.verify(changed, NOW)


def test_claims_of_one_token_under_the_signature_of_another(ed_signer: Signer, jwks_of: Made) -> None:
    """Pieces of good tokens make no good token."""
    verifier = TokenVerifier(
        {"https://id.test": TrustedIssuer("penstock", ALGORITHMS, Found({ed_signer.kid: key_of(ed_signer, jwks_of)}))}, Claims()
    )
    one, other = (ed_signer.token({"sub": name}).encode().split(b".") for name in ("alice", "admin"))
    verifier.verify(b".".join(one), NOW)
    for pieces in ([one[0], other[1], one[2]], [one[0], one[1], other[2]], [one[1], one[0], one[2]]):
        with pytest.raises(InferenceError):
            verifier.verify(b".".join(pieces), NOW)
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": ed_signer.kid}).encode()).rstrip(b"=")
    for signature in (b"", one[2]):
        with pytest.raises(InferenceError):
            verifier.verify(b".".join([unsigned, one[1], signature]), NOW)
