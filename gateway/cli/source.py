"""Reads the documents named on a command line; pipes too, so that `penstock policy test <(…)` works."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.configuration.files import MAX_BYTES


def read(name: str) -> bytes:
    """The document's bytes, of one that is too large one more than the limit; `-` is stdin. Raises OSError."""
    if name == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with Path(name).open("rb") as file:
        return file.read(MAX_BYTES + 1)
