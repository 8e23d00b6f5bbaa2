"""The files that samples are written to: of bounded size, rolled over, one for each process, no worry to who serves."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.telemetry.lines import pieces

SALT_BYTES = 16
MODE = 0o640  # pseudonyms or not, this is about people
WELL_SECONDS = 10.0  # that lines must have been written without a loss before it is said: a full disk takes some now and then
_MOST = 256  # processes that may write beside each other
_log = logging.getLogger(__name__)


def salt_for(path: Path) -> bytes:
    """The salt of all files beside `path`, so that a name has one pseudonym in them all; made by whoever comes first.

    Where it can be neither read nor kept it is good for this process only.
    """
    kept = path.with_name(f".{path.name}.salt")
    fresh = secrets.token_hex(SALT_BYTES)
    own = path.with_name(f".{path.name}.salt.{os.getpid()}")
    try:
        with suppress(FileExistsError):
            own.write_text(fresh)
            own.chmod(0o600)
            os.link(own, kept)  # whole or not at all, and never over another's
    except OSError:
        pass
    finally:
        with suppress(OSError):
            own.unlink()
    try:
        found = bytes.fromhex(kept.read_text())
    except (OSError, ValueError):
        found = b""
    return found if len(found) == SALT_BYTES else bytes.fromhex(fresh)


class SampleFile:
    """A sink of lines: `path`, or `path-1` and so on where another process has that; `keep` files of `size` bytes at most.

    What cannot be written is lost and counted, and the next line that can be says how many were; the log says that it began, and
    that it has been over for WELL_SECONDS. Whole lines only. A file or folder that is taken away is made or found anew. Used by
    one thread.
    """

    def __init__(self, path: Path, size: int, keep: int, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._size = size
        self._keep = keep
        self._clock = clock
        self._number = -1  # of the open file's descriptor
        self._at = path  # the open file's own path
        self._lost = 0  # since the file said so last
        self._missed = 0  # of the whole trouble, which the log is told when it is over
        self._failed = 0.0  # when it was seen last

    def write(self, lines: bytes) -> None:
        """Writes them, or loses them. Never raises."""
        for piece in pieces(lines, self._size):
            try:
                self._open()
                if self._lost:
                    told = {"time": round(self._clock(), 3), "dropped": self._lost}
                    self._append(json.dumps(told, separators=(",", ":")).encode() + b"\n")
                    self._lost = 0
                self._append(piece)
            except OSError as error:
                if not self._missed:
                    _log.error("samples cannot be written to %s and are lost until they can: %s", self._at, error)
                self._lost += (lost := piece.count(b"\n"))
                self._missed += lost
                self._failed = self._clock()
                self.close()
            else:
                self._well()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Lets go of the file."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def _well(self) -> None:
        if self._missed and self._clock() - self._failed >= WELL_SECONDS:
            _log.warning("samples are written again; %d were lost", self._missed)
            self._missed = 0

    def _append(self, piece: bytes) -> None:
        size = os.fstat(self._number).st_size
        if size and size + len(piece) > self._size:
            self._roll()
            size = 0
        written = 0
        try:
            while written < len(piece):
                written += os.write(self._number, piece[written:])
        except OSError:
            if written:
                os.ftruncate(self._number, size)  # no half lines
            raise

    def _roll(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._at if number == 1 else _rolled(self._at, number - 1)
            with suppress(FileNotFoundError):
                older.replace(_rolled(self._at, number))
        if self._keep == 1:
            self._at.unlink()
        self.close()
        self._open()

    def _open(self) -> None:
        if self._number >= 0:
            if _same(self._number, self._at):
                return
            self.close()
        for slot in range(_MOST):
            self._at = self._path.with_stem(f"{self._path.stem}-{slot}") if slot else self._path
            if (number := _claimed(self._at)) is not None:
                self._number = number
                break
        else:
            raise OSError(f"{_MOST} processes write there already")
        size = os.fstat(self._number).st_size
        if size and os.pread(self._number, 1, size - 1) != b"\n":  # somebody died while writing: their half line ends here
            os.write(self._number, b"\n")


def _claimed(path: Path) -> int | None:
    """The file, opened for appending and ours alone; None if another process has it. Raises OSError."""
    number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, MODE)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        return None
    except OSError:
        os.close(number)
        raise
    if _same(number, path):
        return number
    os.close(number)  # rolled over between opening and locking: the next look finds the new one
    return _claimed(path)


def _same(number: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(number)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _rolled(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
