"""The demo's one way of being wrong: something was claimed, and something else was seen."""

from __future__ import annotations

import time
from collections.abc import Callable


class WrongError(Exception):
    """What the demo would have said is not so; the text says what was expected and what was seen."""


class StartError(Exception):
    """Something that the demo needs is missing or did not start; the text says what to do."""


def equal(what: str, expected: object, seen: object) -> None:
    """Raises WrongError unless both are equal."""
    if expected != seen:
        raise WrongError(f"{what}:\n    expected {expected}\n    seen     {seen}")


def true(what: str, holds: bool, seen: object) -> None:
    """Raises WrongError unless it holds; `what` says what was expected."""
    if not holds:
        raise WrongError(f"expected {what}:\n    seen     {seen}")


def until(what: str, holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Looks again and again until it holds; raises WrongError when it never does."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise WrongError(f"expected {what}:\n    seen     not within {seconds:g} s")
        time.sleep(0.01)
