"""Decides which published keys may verify a token, and with which one algorithm (RFC 7517, RFC 7518, RFC 8037).

Rules, because the libraries below accept more than we want:
    kty RSA          RS256   2048 to 8192 bits, no small factor, odd exponent of 65537 to 2^32
    kty EC P-256     ES256   coordinates of exactly 32 bytes, on the curve
    kty OKP Ed25519  EdDSA   exactly 32 bytes, a point of the curve, written in its one way, not of small order
A key for another purpose (`use`, `key_ops`, `alg`, another kty or curve) or too weak is left out and said; a set that holds
secret material (kty oct, private members), the same `kid` twice or a name twice is refused whole, because its publisher cannot
be trusted with it: a shared secret next to public keys is how key-confusion attacks begin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.auth.settings import KeySourceError
from gateway.auth.strict import decode_base64url, decode_object
from gateway.configuration.problems import shown

MAX_KEYS = 64  # in one set: real ones hold fewer than ten, and each costs up to 0.3 ms to look at

_PKCS1 = padding.PKCS1v15()
_SHA256 = SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_P = 2**255 - 19  # the field of Ed25519, and the constant of its curve
_D = -121665 * pow(121666, -1, _P) % _P
_SMALL_PRIMES = math.prod(number for number in range(2, 752) if all(number % each for each in range(2, number)))
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


class Unfit(ValueError):
    """Why a key of the set may not verify tokens here."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a set that may verify tokens, by kid ("" for one without), and why each other may not."""

    keys: dict[str, VerifyKey]
    left_out: tuple[str, ...]


def admit(document: bytes, algorithms: tuple[str, ...]) -> KeySet:
    """The keys of a JWK Set that may verify tokens with these algorithms.

    Raises KeySourceError when it is no key set, is refused whole, or no key remains.
    """
    admitted: dict[str, VerifyKey] = {}
    left_out = []
    for jwk in _listed(document):
        if jwk.get("kty") == "oct" or any(member in jwk for member in _PRIVATE):
            raise KeySourceError("the set holds secret key material; publish public keys only, and replace these")
        try:
            key = _admit_one(jwk, algorithms)
        except (ValueError, UnsupportedAlgorithm) as error:
            left_out.append(f"{shown(jwk.get('kid', ''))}: {error if isinstance(error, Unfit) else 'not a key of its type'}")
            continue
        if key.kid in admitted:
            raise KeySourceError("two keys of the set share one kid (or both have none)")
        admitted[key.kid] = key
    if not admitted:
        raise KeySourceError(f"no key of the set can verify {', '.join(algorithms)} ({'; '.join(left_out) or 'it is empty'})")
    return KeySet(admitted, tuple(left_out))


def _listed(document: bytes) -> list[dict[str, Any]]:
    try:
        listed = decode_object(document).get("keys")
    except ValueError as error:
        raise KeySourceError(f"not a JSON object that can be read in one way only: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(jwk, dict) for jwk in listed):
        raise KeySourceError("not a JWK Set: `keys` must be a list of objects")
    if len(listed) > MAX_KEYS:
        raise KeySourceError(f"the set holds more than {MAX_KEYS} keys")
    return listed


def _admit_one(jwk: dict[str, Any], algorithms: tuple[str, ...]) -> VerifyKey:
    kind, kid, operations = jwk.get("kty"), jwk.get("kid", ""), jwk.get("key_ops", ["verify"])
    algorithm = _ALGORITHM_OF.get(kind) if isinstance(kind, str) else None
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or algorithm not in algorithms:
        raise Unfit(f"not for {', '.join(algorithms)}")
    if jwk.get("use", "sig") != "sig" or operations != ["verify"]:
        raise Unfit("its use or key_ops is not to verify signatures, and that alone")
    if not isinstance(kid, str):
        raise Unfit("its kid is not text")
    if algorithm == "RS256":
        return _rsa(kid, _member(jwk, "n"), _member(jwk, "e"))
    if algorithm == "ES256":
        return _p256(kid, jwk.get("crv"), _member(jwk, "x"), _member(jwk, "y"))
    return _ed25519(kid, jwk.get("crv"), _member(jwk, "x"))


def _member(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing")
    return decode_base64url(value.encode("ascii"))


def _rsa(kid: str, n: bytes, e: bytes) -> VerifyKey:
    modulus, exponent = int.from_bytes(n, "big"), int.from_bytes(e, "big")
    if not 2048 <= modulus.bit_length() <= 8192:
        raise Unfit(f"an RSA modulus of {modulus.bit_length()} bits; 2048 to 8192 are accepted")
    if not 65537 <= exponent < 1 << 32 or exponent % 2 == 0:
        raise Unfit("an RSA exponent that is not odd, or not 65537 to 2^32")
    if math.gcd(modulus, _SMALL_PRIMES) != 1:  # NIST SP 800-89 section 5.3.3: no factor below 752
        raise Unfit("an RSA modulus with a small factor")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()

    def verify(signature: bytes, signed: bytes) -> None:
        key.verify(signature, signed, _PKCS1, _SHA256)

    return VerifyKey("RS256", kid, (n, e), verify)


def _p256(kid: str, curve: object, x: bytes, y: bytes) -> VerifyKey:
    if curve != "P-256" or len(x) != 32 or len(y) != 32:
        raise Unfit("not a point of P-256 with two coordinates of 32 bytes")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)  # which looks whether it lies on it

    def verify(signature: bytes, signed: bytes) -> None:
        if len(signature) != 64:  # RFC 7518 section 3.4: R || S, where the library wants DER
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(utils.encode_dss_signature(r, s), signed, _ECDSA)

    return VerifyKey("ES256", kid, (x, y), verify)


def _ed25519(kid: str, curve: object, x: bytes) -> VerifyKey:
    if curve != "Ed25519" or len(x) != 32:
        raise Unfit("not a point of Ed25519 in 32 bytes")
    _check_ed25519_point(x)
    return VerifyKey("EdDSA", kid, (x,), ed25519.Ed25519PublicKey.from_public_bytes(x).verify)


def _check_ed25519_point(encoded: bytes) -> None:
    """The library takes any 32 bytes; under a point of small order, anybody can sign anything. Raises Unfit.

    A point is its y and one bit of its x (RFC 8032 section 5.1.3), on -x^2 + y^2 = 1 + d x^2 y^2. Its order divides 8 just if
    doubling it three times gives y = 1; by the curve, 2(x, y) has y = (y^2 + x^2) / (2 + x^2 - y^2), so x^2 is all it takes.
    """
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    if y >= _P:
        raise Unfit("an Ed25519 point not written in its one way")
    square = _x_squared(y)
    if pow(square, (_P - 1) // 2, _P) not in (0, 1):  # Euler: no x has this square
        raise Unfit("not a point of Ed25519")
    for _ in range(3):
        y = (y * y + square) * pow(2 + square - y * y, -1, _P) % _P
        square = _x_squared(y)
    if y == 1:
        raise Unfit("an Ed25519 point of small order")


def _x_squared(y: int) -> int:
    return (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
