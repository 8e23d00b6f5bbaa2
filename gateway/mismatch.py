"""Says on the log where the policy asks for what gateway.yaml, which it does not know, gives no place or only half of one."""

from __future__ import annotations

import logging

from gateway.compile import Blueprint
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.telemetry.recorder import warn_unrecorded

_log = logging.getLogger(__name__)


def warn_of(document: GatewayDocument, blueprint: Blueprint) -> None:
    """A line for each: what is recorded nowhere, limits that several workers have to divide among them."""
    warn_unrecorded(document.telemetry.samples, blueprint.tables)
    shadows = [
        f"'{name}/{shadow.name}'" for name, table in blueprint.tables.items() for shadow, _ in table.shadows if shadow.record
    ]
    if shadows and document.telemetry.pairs is None:
        _log.warning("shadow %s says 'record' and nothing is recorded: telemetry.pairs is null", shadows[0])
    if blueprint.limits and document.workers > 1 and document.store == "memory":
        _log.warning(
            "limits are exact only with a store that the %d workers share: with 'store: memory' each of them allows its part",
            document.workers,
        )
