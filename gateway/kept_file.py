"""Keeps what was judged in a file that is always whole, so that it outlives a process that is killed."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from gateway.aside import Runner

T = TypeVar("T")
_log = logging.getLogger(__name__)


def load(path: Path, kind: type[T], otherwise: str) -> T | None:
    """What was kept; None if nothing was, or it cannot be read: then it is put aside, and the log says what follows of that."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.error("%s: cannot be read, %s: %s", path, otherwise, error)
        if isinstance(error, msgspec.DecodeError):
            path.replace(path.with_name(f"{path.name}.damaged"))
        return None


def store(path: Path, kept: object) -> None:
    """In the place of what was there. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(kept))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


async def stored(path: Path, kept: object, what: str, run: Runner, seconds: float) -> bool:
    """Whether it is, within so many seconds; if not the log says so of `what`, and whoever keeps it goes on."""
    try:
        async with asyncio.timeout(seconds):
            await run(lambda: store(path, kept))
    except TimeoutError:
        _log.error("%s: does not answer; %s is written down when it does", path, what)
        return False
    except OSError as error:
        _log.error("%s: %s cannot be written: %s", path, what, error.strerror or error)
        return False
    return True
