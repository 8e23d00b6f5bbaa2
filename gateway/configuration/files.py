"""Reads the files an operator names, so that none of them can hold the process up or fill its memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 4 << 20


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises OSError naming the file: what the system says of it, that it is something else than a file, or that it has more than
    `limit` bytes. A pipe without a writer is refused like any other pipe, at once.
    """
    _check(path, path.stat())  # before opening: that alone makes some devices do things
    # For a file, not to block changes nothing; a pipe put in its place meanwhile would be waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _check(path, os.fstat(file.fileno()))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit >> 10} KiB", str(path))
    return content


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise OSError(errno.EINVAL, f"{what}, not a file", str(path))
