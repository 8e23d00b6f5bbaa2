"""Keeps the state of rollouts in a file that is always whole: what was judged outlives a process that is killed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from routing.rollout.rollout import Rollout

FILE = "rollouts.msgpack"
_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """One rollout with what it remembers of sticky units, by metric. `definition`: what it was made of."""

    definition: str
    rollout: Rollout
    known: Mapping[str, Mapping[float, float]] = {}


def load(folder: Path | None) -> list[Kept]:
    """What was kept. What cannot be read is put aside: then every rollout begins anew, at no weight."""
    if folder is None:
        return []
    path = folder / FILE
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Kept])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        _log.error("%s: cannot be read, rollouts begin anew at no weight: %s", path, error)
        if isinstance(error, msgspec.DecodeError):
            path.replace(path.with_name(f"{FILE}.damaged"))
        return []


def store(folder: Path, kept: list[Kept]) -> None:
    """In the place of what was there. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE
    new = path.with_name(f"{FILE}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(kept))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
