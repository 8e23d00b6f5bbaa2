"""Which versions of a model clients may ask for: the policy's word, held against what a backend serves."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from routing.match import Versions

_NUMBER = re.compile(r"[0-9]{1,18}")


def allowed(versions: Versions, asked: str, served: Collection[str] | None) -> bool | None:
    """Whether a client may ask for this version; None where that depends on what is `served` and nobody knows it.

    Of the latest n is every version that fewer than n served ones are newer than: one that has just been loaded is among them,
    though nobody has told of it yet.
    """
    if versions.latest is None:
        return not versions.named or asked in versions.named
    if served is None:
        return None
    return sum(_number(each) > _number(asked) for each in served) < versions.latest


def offered(versions: Versions, served: Sequence[str]) -> list[str]:
    """Those of the served versions that clients may ask for, in the order given."""
    return [each for each in served if allowed(versions, each, served)]


def _number(version: str) -> int:
    """A version's place among the others; a word, which only a backend's own dialect could have, is older than any number."""
    return int(version) if _NUMBER.fullmatch(version) else -1
