"""Reads base64url and JSON in the one way that leaves no two readers of a token or key set in doubt."""

from __future__ import annotations

import base64
import json
from typing import Any, NoReturn


def decode_base64url(text: bytes) -> bytes:
    """Strict base64url without padding: only what an encoder would have written. Raises ValueError for anything else."""
    decoded = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text:  # foreign characters, padding, stray trailing bits
        raise ValueError("not strict base64url")
    return decoded


def decode_object(text: bytes) -> dict[str, Any]:
    """One JSON object in UTF-8, without a name that comes twice in any object, NaN or Infinity.

    RFC 7515 section 4 and RFC 7519 section 4: names must be unique, or a parser may take the last; one that takes the first sees
    another subject. Raises ValueError, also for what is nested too deep to be read.
    """
    try:
        found = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_number)  # decoded here: json guesses UTF-16
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
