"""The policy's file as the gateway deals with it: looked at, read whole, trusted or not, and written back by a rollback."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gateway.aside import Runner
from gateway.configuration.files import look_into, replace_file
from gateway.configuration.load import version

REPLACED = ".replaced"  # behind the name of a copy of what a rollback wrote over and nobody else has


class Mark(NamedTuple):
    """What changes when a file does. Times in ns; `changed` also follows owner and mode."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The file as it was read. `torn`: somebody wrote to it meanwhile, so that half of it may be another document's."""

    text: bytes
    mark: Mark
    owner: int
    open_to_all: bool
    torn: bool

    @property
    def said(self) -> tuple[str, int, bool]:
        """All that a judgement of the file depends on."""
        return version(self.text), self.owner, self.open_to_all


class PolicyFile:
    """One path, links followed anew each time. What touches the file system is done by `run`."""

    def __init__(self, path: Path, run: Runner) -> None:
        self.path = path
        self.run = run
        self._owners = {0, os.geteuid()}

    def first(self) -> Reading:
        """The file at the start of the process, whoever owns it; that user may change it from then on. Raises OSError."""
        reading = self._read()
        self._owners.add(reading.owner)
        self.trust(reading)
        return reading

    async def mark(self) -> Mark | OSError:
        """How it looks now, 2 µs of a system call; or why it cannot be looked at."""
        try:
            return await self.run(lambda: _marked(self.path.stat()))
        except OSError as error:
            return error

    async def read(self) -> Reading:
        """The whole file. Raises OSError as `files.read_file`."""
        return await self.run(self._read)

    def trust(self, reading: Reading) -> None:
        """Raises OSError (EPERM) if somebody may have written it who has no say in the policy."""
        if reading.open_to_all:
            raise OSError(errno.EPERM, "may be written by everybody: chmod o-w it", str(self.path))
        if reading.owner not in self._owners:
            known = "root, the gateway's own user or its owner at the start"
            raise OSError(errno.EPERM, f"belongs to user {reading.owner}, who is not {known}", str(self.path))

    async def write(self, text: bytes, known: Callable[[bytes], bool]) -> str:
        """Puts the text into the file, owner and mode as before; what there is to know about that, "" for nothing.

        A link is left alone: whoever made it (Kubernetes, for one) has the last word. Something that is not `known` is not
        lost, but kept beside the file under its name and REPLACED.
        """
        return await self.run(lambda: self._write(text, known))

    def _read(self) -> Reading:
        text, before, after = look_into(self.path)
        torn = _marked(before) != _marked(after)
        return Reading(text, _marked(before), before.st_uid, bool(before.st_mode & stat.S_IWOTH), torn)

    def _write(self, text: bytes, known: Callable[[bytes], bool]) -> str:
        note = ""
        try:
            if self.path.is_symlink():
                raise OSError("it is a symbolic link")
            if self.path.exists():
                found = self._read()
                self.trust(found)
                if found.text == text:
                    return ""
                if not known(found.text):
                    beside = self.path.with_name(self.path.name + REPLACED)
                    replace_file(beside, found.text)
                    note = f"what stood in {self.path} and never was in force is kept as {beside}"
            replace_file(self.path, text)
        except OSError as error:
            return f"{self.path} was not written ({error.strerror or error}): in force until it changes or is reloaded"
        return note


def _marked(status: os.stat_result) -> Mark:
    return Mark(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
