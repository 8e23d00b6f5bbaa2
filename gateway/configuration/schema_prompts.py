"""The policy document's prompt routers as frozen values: which trained file, which input it reads, which scores a route takes."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from gateway.configuration.decode import read_text
from gateway.configuration.problems import UnreadableError, shown
from routing.prompt.scorer import UNIT

_SHA256 = re.compile(r"[0-9a-f]{64}")
_STEP = re.compile(r"(?!\.\.?(/|\Z))[^/\\\x00-\x1f\x7f]+")


def read_score(value: object) -> float:
    """A score, from 0 to 1, of at most six digits: scores are compared in whole millionths. Raises UnreadableError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UnreadableError(f"{shown(value)} is not a score: a number from 0 to 1")
    if abs(value * UNIT - round(value * UNIT)) > 1e-6:
        raise UnreadableError(f"{shown(value)} has more than six digits behind the point", f"{round(value, 6)}")
    return round(value * UNIT) / UNIT


def read_sha256(value: object) -> str:
    """64 hexadecimal digits. Raises UnreadableError."""
    text = read_text(value)
    if not _SHA256.fullmatch(text):
        lower = text.lower().removeprefix("sha256:")
        raise UnreadableError(
            f"{shown(text)} is not a SHA-256: 64 hexadecimal digits", lower if _SHA256.fullmatch(lower) else None
        )
    return text


def read_beside(value: object) -> str:
    """The path of a file in the policy's own folder, or below it. Raises UnreadableError."""
    text = read_text(value)
    if not all(map(_STEP.fullmatch, text.split("/"))):
        meant = text.rsplit("/", 1)[-1]
        raise UnreadableError(
            f"{shown(text)} is not a file in the policy's folder or below it", meant if _STEP.fullmatch(meant) else None
        )
    return text


class Router(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trained prompt router: a file beside the policy, the hash of its content, and the input whose texts it scores."""

    file: Annotated[str, read_beside]
    sha256: Annotated[str, read_sha256]
    input: str


class Scored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of a router's scores are meant: `at_least` is included, `below` is not."""

    at_least: Annotated[float, read_score] | None = None
    below: Annotated[float, read_score] | None = None
