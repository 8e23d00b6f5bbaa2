"""Keeps the last documents that were in force, each under its content's version, so that one of them can be put in force again.

In a folder, a document is two files: VERSION.yaml, its very bytes, and VERSION.json, which says when and by whom. Each is written
whole or not at all, the document first; on the way out the note goes first. So a process that is killed anywhere leaves
whole entries, or a document without a note, which the next start takes away.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.configuration.files import read_file, replace_file
from gateway.configuration.load import version

KEPT = 20
_OURS = re.compile(r"(\.?)([0-9a-f]{12})\.(yaml|json)(.*)")


class Origin(msgspec.Struct, frozen=True):
    """Who changed the policy: `file`, `SIGHUP` or the subject of an API call, which `via` tells from the two; `what` was done."""

    who: str
    via: str  # start, file, signal or api
    what: str = "reload"  # or start, or rollback

    def __str__(self) -> str:
        return f"{self.what} by {self.who}" + (" over the API" if self.via == "api" else "")


class Kept(msgspec.Struct, frozen=True):
    """What is known of a document. `time`, in UTC, is when it came in force last; `number` orders them."""

    version: str
    time: str
    who: str
    via: str
    what: str
    number: int
    sha256: str


class History:
    """The last KEPT documents in memory, a version only once. `damaged` are the files that say what cannot be so, or are none."""

    def __init__(self, folder: Path | None = None) -> None:
        """Reads what is there. Raises OSError for a folder that cannot be read."""
        self._folder = folder
        self._texts: dict[str, bytes] = {}
        self._entries: dict[str, Kept] = {}  # in the order of their numbers
        self._unwritten: set[str] = set()
        self.damaged: list[str] = []
        if folder is not None and folder.exists():
            for kept, text in sorted(self._read(folder), key=lambda each: each[0].number)[-KEPT:]:
                self._entries[kept.version], self._texts[kept.version] = kept, text

    @property
    def entries(self) -> list[Kept]:
        """Newest first."""
        return list(reversed(self._entries.values()))

    def text(self, name: str) -> bytes | None:
        """The document of that version, if it is kept."""
        return self._texts.get(name)

    def add(self, text: bytes, origin: Origin, time: str) -> Kept:
        """A document has come in force: it is the newest now, and the oldest may go. In memory; `store` writes it down."""
        name, newest = version(text), next(reversed(self._entries.values()), None)
        number = newest.number + 1 if newest else 1
        self._entries.pop(name, None)
        self._entries[name] = Kept(name, time, origin.who, origin.via, origin.what, number, hashlib.sha256(text).hexdigest())
        self._texts[name] = text
        self._unwritten.add(name)
        for old in list(self._entries)[:-KEPT]:
            del self._entries[old], self._texts[old]
            self._unwritten.discard(old)
        return self._entries[name]

    def store(self) -> None:
        """Writes what is not written yet into the folder, whose parent is there, and takes out what is not kept any more.

        Raises OSError; what could not be written then is tried again with the next. May run beside `add`.
        """
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        failure = None
        for kept in [each for each in list(self._entries.values()) if each.version in self._unwritten]:
            self._unwritten.discard(kept.version)  # first: it may come in force again meanwhile
            try:
                self._put(self._folder, kept, self._texts.get(kept.version, b""))
            except OSError as error:
                self._unwritten.add(kept.version)
                failure = error
        self._tidy(self._folder)
        if failure is not None:
            raise failure

    def _put(self, folder: Path, kept: Kept, text: bytes) -> None:
        replace_file(folder / f"{kept.version}.yaml", text)
        note = folder / f"{kept.version}.json"
        replace_file(note, msgspec.json.encode(kept) + b"\n")
        self.damaged = [name for name in self.damaged if name != note.name]

    def _tidy(self, folder: Path) -> None:
        """Removes what is ours and is not kept: old entries, and what a killed process left half done."""
        ours = [(path, match) for path in folder.iterdir() if (match := _OURS.fullmatch(path.name))]
        found = [(path, match) for path, match in ours if not path.is_dir()]
        unfinished = [path for path, match in found if match[1] or match[4]]
        known = {*self._entries, *(Path(name).stem for name in self.damaged)}  # what is damaged, somebody may want to look at
        old = [path for path, match in found if not match[1] and not match[4] and match[2] not in known]
        for path in (*unfinished, *sorted(old)):  # .json before .yaml
            path.unlink(missing_ok=True)

    def _read(self, folder: Path) -> Iterator[tuple[Kept, bytes]]:
        folders = [path for path in folder.iterdir() if path.is_dir() and path.suffix != ".json"]
        self.damaged += sorted(path.name for path in folders if _OURS.fullmatch(path.name))
        for path in sorted(folder.glob("*.json")):
            try:
                kept = msgspec.json.decode(read_file(path), type=Kept)
                text = read_file(path.with_suffix(".yaml"))
            except (msgspec.DecodeError, OSError):  # a ValidationError is a DecodeError
                self.damaged.append(path.name)
                continue
            if (path.stem, kept.sha256) == (kept.version, hashlib.sha256(text).hexdigest()) and version(text) == path.stem:
                yield kept, text
            else:
                self.damaged.append(path.name)
