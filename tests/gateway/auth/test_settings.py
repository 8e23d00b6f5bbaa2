"""What an operator may decide about authentication."""

from __future__ import annotations

import pytest

from gateway.auth.settings import AuthSettings, JwtIssuer, KeySourceError


@pytest.mark.parametrize(
    "jwks",
    [
        "https://id.test/jwks.json",
        "http://127.0.0.1:8000/jwks",
        "http://localhost/jwks",
        "http://[::1]:1/jwks",
        "config/jwks.json",
    ],
)
def test_keys_come_from_files_https_or_this_machine(jwks: str) -> None:
    """A file, https, and http to a loopback address are accepted."""
    assert jwks.startswith("http") == JwtIssuer("iss", "aud", jwks).is_url


@pytest.mark.parametrize(
    "jwks",
    [
        "http://id.test/jwks",
        "ftp://id.test/x",
        "https://",
        "https://me:pass@id.test/x",
        "https://id.test:port/",
        "http://127.evil/",
        "",
    ],
)
def test_unsafe_addresses_are_refused(jwks: str) -> None:
    """Plain http to elsewhere, other schemes, passwords and broken URLs are refused, and no password is repeated."""
    with pytest.raises(KeySourceError) as refusal:
        JwtIssuer("iss", "aud", jwks)
    assert "pass@" not in str(refusal.value)


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256",), ("RS256", "HS256"), ("rs256",)])
def test_only_asymmetric_algorithms_can_be_configured(algorithms: tuple[str, ...]) -> None:
    """Neither `none` nor a shared-secret algorithm can be allowed by mistake."""
    with pytest.raises(KeySourceError, match="algorithms"):
        JwtIssuer("iss", "aud", "jwks.json", algorithms)


def test_issuer_and_audience_are_required() -> None:
    """An issuer without a name or audience would accept tokens meant for others."""
    for issuer, audience in (("", "aud"), ("iss", "")):
        with pytest.raises(KeySourceError):
            JwtIssuer(issuer, audience, "jwks.json")


def test_an_issuer_stands_once() -> None:
    """The same issuer twice leaves open whose keys count."""
    with pytest.raises(KeySourceError, match="more than once: iss"):
        AuthSettings(jwt=(JwtIssuer("iss", "a", "x.json"), JwtIssuer("iss", "b", "y.json")))
