"""What gateway.yaml alone decides on."""

from __future__ import annotations

from pathlib import Path

from gateway.configuration.load import load_gateway
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.process_parts import access_log_of, auth_settings, samples_of, store_of
from gateway.telemetry.metrics import Metrics


def document(text: str) -> GatewayDocument:
    return load_gateway(text.encode(), "gateway.yaml")


def test_nothing_said() -> None:
    """Each process keeps its own, nothing is recorded, nobody comes in by a key."""
    plain = document('telemetry: {access_log: "off"}\n')
    assert (None, None, None) == (store_of(plain, Metrics()), samples_of(plain), access_log_of(plain))
    settings = auth_settings(plain.auth)
    assert ((), False) == (settings.jwt, settings.anonymous)


def test_who_may_come_in() -> None:
    """Issuers, claims and keys, as written."""
    issuer = "{issuer: https://id.example.com, audience: a, jwks: keys.json, algorithms: [RS256]}"
    settings = auth_settings(document(f"auth: {{jwt: [{issuer}], claims: {{tenant: org}}, api_keys: k.yaml}}\n").auth)
    assert ("https://id.example.com", ("RS256",)) == (settings.jwt[0].issuer, settings.jwt[0].algorithms)
    assert ("org", Path("k.yaml")) == (settings.claims.tenant, settings.api_keys)
