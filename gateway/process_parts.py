"""Parts of a process that gateway.yaml alone decides on: the store, the logs, who may come in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.auth.settings import AuthSettings, Claims, JwtIssuer
from gateway.configuration.schema_gateway import MEMORY, Auth, GatewayDocument
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recorder import Recorder, recorder

if TYPE_CHECKING:
    from gateway.store.store import Store


def store_of(document: GatewayDocument, metrics: Metrics) -> Store | None:
    """The shared store; None where each process keeps its own."""
    if document.store == MEMORY:
        return None
    from gateway.store.store import Store  # here, because most gateways need none

    store = Store(document, metrics)
    metrics.store_up = lambda: store.up
    return store


def samples_of(document: GatewayDocument) -> Recorder | None:
    """Who writes recorded requests; None where nobody does."""
    samples = document.telemetry.samples
    return recorder(Path(samples.file), samples.size, samples.keep) if samples is not None else None


def access_log_of(document: GatewayDocument) -> AccessLog | None:
    """A line for each request on standard output; None without."""
    told = document.telemetry
    if told.access_log != "json":
        return None
    return AccessLog(sys.stdout.buffer, share=told.access_log_share, shared=document.workers > 1)


def auth_settings(auth: Auth) -> AuthSettings:
    """Whose credentials hold."""
    issuers = tuple(JwtIssuer(each.issuer, each.audience, each.jwks, tuple(each.algorithms)) for each in auth.jwt or ())
    claims = Claims(auth.claims.tenant, auth.claims.tier, auth.claims.scopes)
    return AuthSettings(issuers, claims, Path(auth.api_keys) if auth.api_keys else None, auth.anonymous)
