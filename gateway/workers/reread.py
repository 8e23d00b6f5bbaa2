"""Reads gateway.yaml again for workers that shall replace those that run, and refuses what only a restart can change."""

from __future__ import annotations

from pathlib import Path

from gateway.configuration.files import read_file
from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError, Problem
from gateway.configuration.schema_gateway import GatewayDocument

FIXED = ("listen", "workers", "state")  # what the parent itself has opened


def reread(file: Path, before: GatewayDocument) -> GatewayDocument:
    """What the file says now. Raises PolicyError for what is wrong with it, OSError if it cannot be read."""
    document = load_gateway(read_file(file), str(file))
    changed = [key for key in FIXED if getattr(document, key) != getattr(before, key)]
    if changed:
        raise PolicyError(str(file), tuple(Problem(key, 1, "changes with a restart only") for key in changed))
    return document
