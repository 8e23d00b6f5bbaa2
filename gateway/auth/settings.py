"""What the operator decides about authentication, checked when it is made, and the one error for what cannot be used."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ALGORITHMS = ("RS256", "ES256", "EdDSA")


class KeySourceError(ValueError):
    """A setting, key file, key set or address that cannot be used: names it and says why, never shows key material."""


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """One issuer whose tokens are accepted: `jwks` is a file's path or an https URL (http only to this machine).

    Raises KeySourceError when a part is missing, the algorithm is not an asymmetric one we know, or the URL is unsafe.
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...] = ALGORITHMS

    def __post_init__(self) -> None:
        if not (self.issuer and self.audience and self.jwks):
            raise KeySourceError(f"auth.jwt: issuer {self.issuer!r} needs issuer, audience and jwks")
        unknown = [name for name in self.algorithms if name not in ALGORITHMS]
        if unknown or not self.algorithms:
            raise KeySourceError(f"auth.jwt: {self.issuer}: algorithms must be some of {', '.join(ALGORITHMS)}, not {unknown}")
        if self.is_url:
            _check_url(self.jwks)

    @property
    def is_url(self) -> bool:
        """Whether the keys come over the network rather than from a file."""
        return "://" in self.jwks


@dataclass(frozen=True, slots=True)
class Claims:
    """The claim names that carry a principal's tenant, tier and scopes."""

    tenant: str = "tenant"
    tier: str = "tier"
    scopes: str = "scope"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """The `auth` part of gateway.yaml. Raises KeySourceError when an issuer is given twice."""

    jwt: tuple[JwtIssuer, ...] = ()
    claims: Claims = field(default_factory=Claims)
    api_keys: Path | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        names = [issuer.issuer for issuer in self.jwt]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise KeySourceError(f"auth.jwt: issuer given more than once: {', '.join(sorted(twice))}")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  reading it is what checks it
    except ValueError as error:
        raise KeySourceError(f"auth.jwt: {url!r} is not a URL") from error
    if parts.username is not None or parts.password is not None:
        raise KeySourceError(f"auth.jwt: the key set of {host} must be readable without a password in its URL")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise KeySourceError(f"auth.jwt: {url}: keys come by https, or by http from this machine only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
