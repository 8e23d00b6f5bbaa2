"""Reads recorded samples line by line, from any number of files, in the memory of one line; what is damaged is counted."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from gateway.telemetry.sample import FORMAT, MAX_LINE, Sample

LOOK_EVERY = 4096  # lines between two looks at how far it has come
MAX_DAMAGED = 100  # lines of a file that may be damaged before the first that is not
_GZIP = b"\x1f\x8b"
_decode = msgspec.json.Decoder(Sample).decode
_decode_any = msgspec.json.Decoder(Mapping[str, object]).decode


class LogError(Exception):
    """A file that holds no samples; the message says what it is, for whoever named it."""


class Tally:
    """What a log turned out to be. Mutable: it fills up while the log is read."""

    def __init__(self) -> None:
        self.samples = 0
        self.damaged = 0  # lines that cannot be read
        self.where = ""  # the first of them
        self.dropped = 0  # samples that the gateway itself could not write, as it says
        self.begin = float("inf")  # seconds of the epoch, of the earliest and the latest sample
        self.end = float("-inf")

    def spoilt(self, path: Path, line: int) -> None:
        """A line that cannot be read."""
        self.damaged += 1
        self.where = self.where or f"{path}:{line}"


def read_samples(paths: Sequence[Path], tally: Tally, look: Callable[[int], None] = lambda _: None) -> Iterator[Sample]:
    """The samples of all files, in their order; packed by gzip or not. `look` is told now and then how many bytes have been read.

    Raises LogError for a file that is something else, OSError for one that cannot be read.
    """
    before = 0
    for path in paths:
        with path.open("rb") as file:
            yield from _samples(path, file, tally, lambda at, before=before: look(before + at))  # type: ignore[misc]
        before += _size(path)


def total_bytes(paths: Sequence[Path]) -> int:
    """Of all files together, as they lie there; 0 for what is no file."""
    return sum(map(_size, paths))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _samples(path: Path, file: io.BufferedReader, tally: Tally, look: Callable[[int], None]) -> Iterator[Sample]:
    packed = file.peek(2)[:2] == _GZIP
    source = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    found, number, strange = False, 0, b""
    for number, line in enumerate(_lines(source, path, tally), 1):
        if not number % LOOK_EVERY:
            look(file.raw.tell() if file.seekable() else 0)
        try:
            sample = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if not _is_note(line, tally):
                strange = strange or line
                _refuse_other_logs(path, line)
                tally.spoilt(path, number)
            if strange and not found and tally.damaged >= MAX_DAMAGED:
                break
            continue
        if sample.sample != FORMAT and found:
            tally.spoilt(path, number)
            continue
        if sample.sample != FORMAT:
            raise LogError(f"{path}:{number}: a sample of another format than {FORMAT}; another version of Penstock wrote it")
        found = True
        tally.samples += 1
        tally.begin, tally.end = min(tally.begin, sample.time), max(tally.end, sample.time)
        yield sample
    if strange and not found:
        raise LogError(f"{path}: no line of it is a recorded sample; it begins with {strange[:60]!r}")


def _lines(source: BinaryIO, path: Path, tally: Tally) -> Iterator[bytes]:
    """Its lines, those too long in pieces that nobody can read. A packed file that breaks off ends there."""
    read = source.readline
    try:
        while line := read(MAX_LINE + 1):
            yield line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        tally.spoilt(path, 0)


def _is_note(line: bytes, tally: Tally) -> bool:
    """Whether it is the gateway's own note of samples that it could not write."""
    if line == b"\n":
        return True
    try:
        note = _decode_any(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    lost = note.get("dropped")
    if not isinstance(lost, int):
        return False
    tally.dropped += lost
    return True


def _refuse_other_logs(path: Path, line: bytes) -> None:
    try:
        fields = _decode_any(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if {"method", "path", "peer"} <= fields.keys():
        raise LogError(
            f"{path} is an access log: it does not say tier, scopes or headers, without which no route can be judged; "
            "record samples with `sample: 1%` on a route and telemetry.samples in gateway.yaml"
        )
