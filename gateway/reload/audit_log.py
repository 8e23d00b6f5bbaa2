"""Writes down every change of policy and every attempt at one: a line of JSON in a file whose size is bounded."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec

MAX_BYTES = 8 << 20  # of the file; as much again in the one before it
MAX_LINE = 4096


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `before` and `after` are the versions in force; `offered` the one refused, where it could be read at all."""

    time: str
    who: str
    via: str
    what: str
    before: str | None
    after: str
    result: str  # ok or refused
    offered: str = ""
    error: str = ""
    note: str = ""


def append(path: Path, change: Change) -> None:
    """Adds a line to the file, made (0600) if it is not there; one that is full becomes PATH.1 first. Raises OSError."""
    line = msgspec.json.encode(change)
    if len(line) > MAX_LINE:
        line = msgspec.json.encode(msgspec.structs.replace(change, error=change.error[: MAX_LINE // 8]))
    if path.exists() and path.stat().st_size + len(line) > MAX_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"  # else a process was killed in the middle of a line
        written = (b"" if whole else b"\n") + line + b"\n"
        if os.write(descriptor, written) < len(written):
            raise OSError(errno.ENOSPC, "only a part of the line could be written", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
