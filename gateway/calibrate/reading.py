"""Reads rows of answers from CSV, JSON lines and Parquet, packed by gzip or not, in bounded memory, and says where one is wrong.

file ──magic──> Parquet ─────────────┐
       └──gzip?──> text ──{?──> JSON lines ──┼──> (line, cells by column) …
                            └──> CSV ────────┘
"""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from gateway.configuration.problems import Problem, nearest, shown

MAX_BYTES = 1 << 30  # of a file, unpacked
MAX_LINE = 1 << 20  # bytes
MAX_COLUMNS = 512
BATCH = 4096  # rows of Parquet at a time
INSTALL = "pip install 'penstock[offline]'"
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"

Cell = str | int | float | bool | None
Record = tuple[int, Mapping[str, Cell]]
"""The line that a row stands on (of Parquet: which row it is, from 1), and its cells by column."""


class RowsError(Exception):
    """Rows that cannot be used; the message says where, what is wrong, and what would be right."""


def wrong(name: str, line: int, message: str, column: str = "", suggestion: str | None = None) -> RowsError:
    """An error at a place of a file: `rows.csv:7: fast_confidence: …`."""
    return RowsError(Problem(column, line, message, suggestion).text(name))


def missing(place: tuple[str, int], column: str, cells: Mapping[str, Cell]) -> RowsError:
    """The error that there is no such column in a file and line; it names those that there are."""
    known = f"{', '.join(list(cells)[:12])}{', …' if len(cells) > 12 else ''}"
    return wrong(*place, f"there is no column {shown(column)}; there are {known}", suggestion=nearest(column, cells))


def read(path: Path, limit: int = MAX_BYTES) -> Iterator[Record]:
    """The rows of one file of at most `limit` bytes of text, in their order. Raises RowsError and OSError."""
    name = str(path)
    if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):  # a directory cannot be opened, and says so
        raise RowsError(f"{name}: a pipe or a device; rows are read twice, so put them into a file")
    with path.open("rb") as file:
        start = file.peek(4)[:4]
        yield from _parquet(path, name) if start == _PARQUET else _text(file, name, start[:2] == _GZIP, limit)


def _text(file: io.BufferedReader, name: str, packed: bool, limit: int) -> Iterator[Record]:
    lines = _lines(cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file, name, limit)
    first = next(lines, None)
    if first is None:
        raise wrong(name, 1, "the file is empty")
    rest = _chain(first, lines)
    yield from _objects(rest, name) if first.lstrip().startswith("{") else _cells(rest, name)


def _lines(source: BinaryIO, name: str, limit: int) -> Iterator[str]:
    """Its lines as text, each with its end. Raises RowsError for what is no text, and for too much of it."""
    size, number = 0, 0
    while True:
        number += 1
        try:
            line = source.readline(MAX_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise wrong(name, number, "the packed file is damaged or breaks off here") from error
        if not line:
            return
        size += len(line)
        if len(line) > MAX_LINE or size > limit:
            what = f"a line of more than {MAX_LINE >> 20} MiB" if len(line) > MAX_LINE else f"more than {limit >> 20} MiB"
            raise wrong(name, number, f"{what}: this is no file of rows, or one to be taken in parts")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise wrong(
                name, number, "not text in UTF-8; CSV, JSON lines and Parquet are read, the first two packed by gzip or not"
            )
        yield text


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _cells(lines: Iterator[str], name: str) -> Iterator[Record]:
    """CSV: a line of names, then as many cells in each line."""
    reader = csv.reader(lines, strict=True)
    try:
        columns = [column.strip() for column in next(reader)]
        _check_columns(columns, name)
        for cells in reader:
            if len(cells) != len(columns):
                if not cells:  # an empty line
                    continue
                raise wrong(name, reader.line_num, f"{len(cells)} cells, and the first line names {len(columns)} columns")
            yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise wrong(name, reader.line_num, f"not CSV: {error}") from error


def _check_columns(columns: list[str], name: str) -> None:
    if len(columns) > MAX_COLUMNS:
        raise wrong(name, 1, f"{len(columns)} columns; at most {MAX_COLUMNS} are read")
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise wrong(name, 1, f"{shown(twice)} is the name of two columns")
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        raise wrong(name, 1, "there is only one column; columns are separated by commas", columns[0][:20])


def _objects(lines: Iterator[str], name: str) -> Iterator[Record]:
    """JSON lines: each an object, of which the plain values count."""
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            found = json.loads(line, parse_constant=_constant)
        except (ValueError, RecursionError) as error:
            raise wrong(name, number, f"not an object of JSON in one line: {str(error)[:80]}") from error
        if not isinstance(found, dict):
            raise wrong(name, number, "not an object of JSON: write {…} in each line")
        if len(found) > MAX_COLUMNS:
            raise wrong(name, number, f"{len(found)} names; at most {MAX_COLUMNS} are read")
        yield number, {name: value for name, value in found.items() if not isinstance(value, list | dict)}


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON; where there is no confidence write null")


def _parquet(path: Path, name: str) -> Iterator[Record]:
    """A million rows and more, a few thousand at a time, and of its columns those that hold plain values."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise RowsError(f"{name} is Parquet, and what reads it is not installed: {INSTALL}") from error
    number = 0
    try:
        file: Any = parquet.ParquetFile(path)
        columns = [field.name for field in file.schema_arrow if not arrow.types.is_nested(field.type)]
        _check_columns(columns, name)
        for batch in file.iter_batches(batch_size=BATCH, columns=columns):
            for cells in batch.to_pylist():
                number += 1
                yield number, cells
    except (arrow.ArrowException, OSError, ValueError) as error:  # it is not particular about which
        raise wrong(name, number + 1, f"not readable as Parquet: {str(error)[:120]}") from error
