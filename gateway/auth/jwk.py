"""Decides which published keys may verify a token, and with which one algorithm (RFC 7517, RFC 7518, RFC 8037).

Rules, because the libraries below accept more than we want:
    kty RSA          RS256   2048 to 8192 bits, odd exponent of 65537 or more
    kty EC P-256     ES256   coordinates of exactly 32 bytes, on the curve
    kty OKP Ed25519  EdDSA   exactly 32 bytes
A key for another purpose (`use`, `key_ops`, `alg`, another kty or curve) or too weak is left out; a set that holds secret
material (kty oct, private members) or the same `kid` twice is refused whole, because its publisher cannot be trusted
with it: a shared secret next to public keys is how key-confusion attacks begin.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.auth.settings import KeySourceError

_PKCS1 = padding.PKCS1v15()
_SHA256 = SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_ALGORITHM_OF = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}

Verify = Callable[[bytes, bytes], None]
"""(signature, signed bytes); raises InvalidSignature or ValueError."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """One admitted public key, bound to one algorithm. `material` tells a replaced key from the same key read again."""

    algorithm: str
    kid: str
    material: tuple[bytes, ...]
    verify: Verify

    def same(self, other: VerifyKey | None) -> bool:
        """Whether the other is this very key."""
        return other is not None and self.algorithm == other.algorithm and self.material == other.material

    def signed(self, signature: bytes, signed: bytes) -> bool:
        """Whether the signature over these bytes is this key's."""
        try:
            self.verify(signature, signed)
        except (InvalidSignature, ValueError):
            return False
        return True


def decode_base64url(text: bytes) -> bytes:
    """Strict base64url without padding: only what an encoder would have written. Raises ValueError for anything else."""
    decoded = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text:  # foreign characters, padding, stray trailing bits
        raise ValueError("not strict base64url")
    return decoded


def admit(document: bytes, algorithms: tuple[str, ...]) -> dict[str, VerifyKey]:
    """The keys of a JWK Set that may verify tokens with these algorithms, by kid ("" for one without).

    Raises KeySourceError when it is no key set, is refused whole, or no key remains.
    """
    try:
        listed = msgspec.json.decode(document, type=dict[str, Any]).get("keys")
    except (ValueError, RecursionError) as error:
        raise KeySourceError("not a JSON object") from error
    if not isinstance(listed, list) or not all(isinstance(jwk, dict) for jwk in listed):
        raise KeySourceError("not a JWK Set: `keys` must be a list of objects")
    admitted: dict[str, VerifyKey] = {}
    for jwk in listed:
        if jwk.get("kty") == "oct" or any(member in jwk for member in _PRIVATE):
            raise KeySourceError("the set holds secret key material; publish public keys only, and replace these")
        key = _admit_one(jwk)
        if key is None or key.algorithm not in algorithms:
            continue
        if key.kid in admitted:
            raise KeySourceError("two keys of the set share one kid (or both have none)")
        admitted[key.kid] = key
    if not admitted:
        raise KeySourceError(f"no key of the set can verify {', '.join(algorithms)}")
    return admitted


def _admit_one(jwk: dict[str, Any]) -> VerifyKey | None:
    kind = jwk.get("kty")
    algorithm = _ALGORITHM_OF.get(kind) if isinstance(kind, str) else None
    kid = jwk.get("kid", "")
    operations = jwk.get("key_ops", ["verify"])
    fits = (
        algorithm is not None
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(kid, str)
    )
    if not fits or algorithm is None:
        return None
    try:
        if algorithm == "RS256":
            return _rsa(kid, _member(jwk, "n"), _member(jwk, "e"))
        if algorithm == "ES256":
            return _p256(kid, jwk.get("crv"), _member(jwk, "x"), _member(jwk, "y"))
        return _ed25519(kid, jwk.get("crv"), _member(jwk, "x"))
    except (ValueError, UnsupportedAlgorithm):
        return None


def _member(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing")
    return decode_base64url(value.encode("ascii"))


def _rsa(kid: str, n: bytes, e: bytes) -> VerifyKey | None:
    modulus, exponent = int.from_bytes(n, "big"), int.from_bytes(e, "big")
    if not 2048 <= modulus.bit_length() <= 8192 or not 65537 <= exponent < 1 << 32:
        return None
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()

    def verify(signature: bytes, signed: bytes) -> None:
        key.verify(signature, signed, _PKCS1, _SHA256)

    return VerifyKey("RS256", kid, (n, e), verify)


def _p256(kid: str, curve: object, x: bytes, y: bytes) -> VerifyKey | None:
    if curve != "P-256" or len(x) != 32 or len(y) != 32:
        return None
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)

    def verify(signature: bytes, signed: bytes) -> None:
        if len(signature) != 64:  # RFC 7518 section 3.4: R || S, where the library wants DER
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(utils.encode_dss_signature(r, s), signed, _ECDSA)

    return VerifyKey("ES256", kid, (x, y), verify)


def _ed25519(kid: str, curve: object, x: bytes) -> VerifyKey | None:
    if curve != "Ed25519":
        return None
    return VerifyKey("EdDSA", kid, (x,), ed25519.Ed25519PublicKey.from_public_bytes(x).verify)
