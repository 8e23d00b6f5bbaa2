"""Reads the files an operator names, so that none of them can hold the process up or fill its memory; replaces them whole."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

MAX_BYTES = 4 << 20


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises OSError naming the file: what the system says of it, that it is something else than a file, or that it has more than
    `limit` bytes. A pipe without a writer is refused like any other pipe, at once.
    """
    return look_into(path, limit)[0]


def look_into(path: Path, limit: int = MAX_BYTES) -> tuple[bytes, os.stat_result, os.stat_result]:
    """As `read_file`, with what the system said of the very file before it was read and after."""
    _check(path, path.stat())  # before opening: that alone makes some devices do things
    # For a file, not to block changes nothing; a pipe put in its place meanwhile would be waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        before = os.fstat(file.fileno())
        _check(path, before)
        content = file.read(limit + 1)
        after = os.fstat(file.fileno())
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit >> 10} KiB", str(path))
    return content, before, after


def replace_file(path: Path, content: bytes) -> None:
    """Writes the file so that readers see all of the old content or all of the new. A new file is its owner's alone (0600).

    Mode, owner and group of one that is there stay; behind a symbolic link it is the file that is replaced, not the link.
    Raises OSError, also where the owner cannot be kept; the old file is then as it was.
    """
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            if path.exists():
                before, made = path.stat(), os.fstat(file.fileno())
                if (before.st_uid, before.st_gid) != (made.st_uid, made.st_gid):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise OSError(errno.EINVAL, f"{what}, not a file", str(path))
