"""Keeps the state of rollouts in a file that is always whole: what was judged outlives a process that is killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway import kept_file
from routing.rollout.rollout import Rollout

FILE = "rollouts.msgpack"


class Kept(msgspec.Struct, frozen=True):
    """One rollout with what it remembers of sticky units, by metric. `definition`: what it was made of."""

    definition: str
    rollout: Rollout
    known: Mapping[str, Mapping[float, float]] = {}


def load(folder: Path | None) -> list[Kept]:
    """What was kept. What cannot be read is put aside: then every rollout begins anew, at no weight."""
    return [] if folder is None else kept_file.load(folder / FILE, list[Kept], "rollouts begin anew at no weight") or []
