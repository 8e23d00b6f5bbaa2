"""Verifies JSON Web Tokens (RFC 7519) as strictly as RFC 8725 advises, and makes principals of their claims.

Only compact JWS of at most 8 KiB, each part spelt in its one way (see strict). The algorithm is the admitted key's, not the
token's: `alg` must merely agree. A token cannot bring or point to its own key (`jwk`, `jku`, `x5c`, `x5u` are refused), nor
demand extensions (`crit`). Claims are looked at before the signature so that a token that could not be accepted anyway costs
no key fetch; nothing of it is believed until the signature holds. tests/gateway/auth/test_beside_pyjwt.py lists what PyJWT
accepts of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from backends.errors import InferenceError
from gateway.auth.jwk import VerifyKey
from gateway.auth.principals import principal_of
from gateway.auth.refusals import Learner, key_unknown, refused, unless_new
from gateway.auth.settings import Claims
from gateway.auth.strict import decode_base64url, decode_object
from routing.principal import Principal

MAX_BYTES = 8192
LEEWAY = 30  # seconds by which an issuer's clock and ours may differ, either way (RFC 7519 section 4.1.4: "a small leeway")
MAX_AHEAD = 24 * 3600  # seconds; a longer life makes a stolen token a password

_FORBIDDEN = ("jwk", "jku", "x5c", "x5u", "crit", "b64")
_TYPES = ("jwt", "at+jwt", "application/at+jwt")  # RFC 9068 section 4; anything else is a token for another purpose


class Keys(Learner, Protocol):
    """Where an issuer's admitted keys are found."""

    def find(self, algorithm: str, kid: str | None) -> VerifyKey | None:
        """The key of that name, or the only one for the algorithm when the token names none."""
        ...


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """What a token of one issuer must show."""

    audience: str
    algorithms: tuple[str, ...]
    keys: Keys


class TokenVerifier:
    """Verifies tokens of the issuers given by their exact `iss`."""

    def __init__(self, issuers: Mapping[str, TrustedIssuer], claims: Claims) -> None:
        self._issuers = issuers
        self._names = claims

    def verify(self, token: bytes, now: float) -> tuple[Principal, float]:
        """The token's principal and the wall time (seconds) from which it is refused.

        Raises a 401 (a 503 while the issuer's keys are not known at all), as KeyUnknown when waiting for a fetch may help.
        """
        header, claims, signature, signed = _split(token)
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise refused("the token is from an issuer this gateway does not trust", "foreign-issuer")
        algorithm = _check_header(header, issuer)
        expires = _check_claims(claims, issuer.audience, now)
        principal = self._principal(claims)
        key = issuer.keys.find(algorithm, header.get("kid"))
        if key is None:
            raise key_unknown(issuer.keys)
        if not key.signed(signature, signed):  # forged, or its key took the place of one of the same name, or of none
            raise unless_new(_bad("its signature does not hold"), issuer.keys)
        return principal, expires

    def _principal(self, claims: dict[str, Any]) -> Principal:
        scopes = claims.get(self._names.scopes, "")
        if isinstance(scopes, str):
            scopes = [scope for scope in scopes.split(" ") if scope]
        if not isinstance(scopes, list):
            raise _bad("its scopes are neither text nor a list")
        try:
            return principal_of(claims.get("sub"), claims.get(self._names.tenant, ""), claims.get(self._names.tier, ""), scopes)
        except ValueError as error:
            raise _bad(str(error)) from None


def _bad(what: str) -> InferenceError:
    return refused(f"the token is not valid: {what}", "bad-token")


def _split(token: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    if len(token) > MAX_BYTES:
        raise _bad(f"it is longer than {MAX_BYTES} bytes")
    parts = token.split(b".")
    if len(parts) != 3:
        raise _bad("it must be a compact JWS of three parts")
    try:
        header = decode_object(decode_base64url(parts[0]))
        claims = decode_object(decode_base64url(parts[1]))
        signature = decode_base64url(parts[2])
    except ValueError:
        raise _bad("its parts are not strict base64url of JSON objects whose names are unique") from None
    return header, claims, signature, token[: token.rindex(b".")]


def _check_header(header: dict[str, Any], issuer: TrustedIssuer) -> str:
    algorithm = header.get("alg")
    if algorithm not in issuer.algorithms:
        raise _bad("its algorithm is not one its issuer may use")
    if any(name in header for name in _FORBIDDEN):
        raise _bad("its header carries a key, a key's address or an extension")
    kind = header.get("typ", "jwt")
    if not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise _bad("its type is not that of an access token")
    if not isinstance(header.get("kid", ""), str):
        raise _bad("its key id is not text")
    return str(algorithm)


def _check_claims(claims: dict[str, Any], audience: str, now: float) -> float:
    expires = claims.get("exp")
    if type(expires) is not int:
        raise _bad("it needs an integer exp")
    if expires + LEEWAY <= now:
        raise refused("the token has expired: get a new one", "expired-token")
    if expires > now + MAX_AHEAD + LEEWAY:
        raise _bad("its exp is more than 24 hours ahead")
    for name in ("nbf", "iat"):
        moment = claims.get(name, 0)
        if type(moment) not in (int, float) or not 0 <= moment <= min(now + LEEWAY, expires):
            raise _bad(f"its {name} is not a time that has come, before its exp")
    wanted = claims.get("aud")
    audiences = wanted if isinstance(wanted, list) else [wanted]
    if audience not in audiences or not all(isinstance(each, str) for each in audiences):
        raise refused("the token is meant for another audience", "foreign-audience")
    return float(expires + LEEWAY)
