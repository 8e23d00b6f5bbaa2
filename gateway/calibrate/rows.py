"""Makes of what files say the rows that cuts are certified on: who was right, how sure everybody was, and what each answered.

What is right is told, in this order: by `<stage>_correct` of every stage; by `truth`; else the dearest's own answer is the truth.
Recorded pairs (gateway/telemetry/pairs.py) stand in a line for each row and each pair of variants: lines of one row are joined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gateway.calibrate.reading import Cell, RowsError, missing, read, wrong
from gateway.configuration.problems import shown
from routing.cascade.certify import FIT, LEAST, Bools, Floats, Labelled

MAX_ROWS = 1_000_000
LOOK_EVERY = 4096  # rows between two looks at how far it has come
MAX_LABEL = 100  # characters
FEWEST = math.ceil(LEAST / FIT)  # rows; of fewer nothing can be said at all
LOOKED = 100_000  # recorded lines that are looked through for names of stages
RECORDED = ("model", "request", "row")  # columns of recorded pairs
LABEL, CONFIDENCE, CORRECT, VERSION, TRUTH = "_label", "_confidence", "_correct", "_version", "truth"

Told = Literal["correct", "truth", "dearest"]
Place = tuple[str, int]  # file, line
_Row = tuple[Place, Mapping[str, Cell]]


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows that all k stages answered. `told`: by what it is known who was right. `questions` 0: not known."""

    right: Bools  # (n, k)
    score: Floats  # (n, k - 1)
    label: np.ndarray[tuple[int, ...], np.dtype[np.str_]]  # (n, k - 1)
    told: Told
    questions: int = 0  # that recorded rows are from
    partial: int = 0  # recorded rows that not all stages have answered, left out
    mixed: tuple[str, ...] = ()  # stages whose recorded rows are of several versions

    def at(self, cost: Sequence[float]) -> Labelled:
        """With what a row costs at each stage."""
        return Labelled(self.right, self.score, self.label, np.array(cost, dtype=np.float64), self.told == "dearest")


def named(paths: Sequence[Path]) -> list[str]:
    """The stages that the files' columns speak of, in the columns' order. Raises RowsError and OSError."""
    found = dict[str, None]()
    for path in paths:
        for seen, (_, cells) in enumerate(read(path)):
            for column in cells:
                for end in (LABEL, CONFIDENCE):
                    if column.endswith(end) and len(column) > len(end):
                        found.setdefault(column.removesuffix(end))
            if seen >= (LOOKED if _recorded(cells) else 0):
                break
    return list(found)


def gather(
    paths: Sequence[Path], columns: Mapping[str, str], look: Callable[[int], None] = lambda _: None, model: str = ""
) -> Rows:
    """The files' rows. `columns`: by stage, cheapest first, how its columns begin. `model`: whose recorded pairs are meant, ""
    where there is only one. Raises RowsError and OSError."""
    rows: Iterable[_Row] = _all(paths, look)
    first = next(iter(rows := iter(rows)), None)
    if first is None:
        raise RowsError(f"{paths[0]}: there is no row")
    rows = _again(first, rows)
    joined = None
    if recorded := _recorded(first[1]):
        joined = _joined(rows, columns, model)
        rows = joined.rows
    told = _told(first[1], columns, recorded)
    _check_columns(first, columns, told, recorded)
    made = _Made(columns, told, plain=told == "correct" and not any(begin + LABEL in first[1] for begin in columns.values()))
    for place, cells in rows:
        made.take(place, cells)
    if len(made.right) < FEWEST:
        left_out = f" that all of {', '.join(columns)} have answered" if recorded else ""
        raise RowsError(f"{paths[0]}: {len(made.right)} rows{left_out}; of fewer than {FEWEST} nothing can be said")
    return made.rows(joined)


class _Made:
    """Rows as they gather; labels of the same text are one object."""

    def __init__(self, columns: Mapping[str, str], told: Told, plain: bool) -> None:
        self._columns, self._told, self._plain = columns, told, plain
        self._begins = tuple(columns.values())
        self._texts: dict[str, str] = {}
        self.right: list[list[bool]] = []
        self._score: list[list[float]] = []
        self._label: list[list[str]] = []

    def take(self, place: Place, cells: Mapping[str, Cell]) -> None:
        """One row. Raises RowsError."""
        if len(self.right) == MAX_ROWS:
            raise wrong(*place, f"more than {MAX_ROWS:,} rows: some thousands are enough, drawn by chance")
        *cheap, dearest = self._begins
        self._score.append([_number(place, begin + CONFIDENCE, cells) for begin in cheap])
        labels = [""] * len(cheap) if self._plain else [self._word(place, begin + LABEL, cells) for begin in cheap]
        self._label.append(labels)
        if self._told == "correct":
            self.right.append([_correct(place, begin + CORRECT, cells) for begin in self._begins])
            return
        last = self._word(place, dearest + LABEL, cells)
        truth = self._word(place, TRUTH, cells) if self._told == "truth" else last
        self.right.append([label == truth for label in (*labels, last)])

    def rows(self, joined: _Joined | None) -> Rows:
        """All of them."""
        score = np.array(self._score, dtype=np.float64)
        for place, stage in enumerate(list(self._columns)[:-1]):
            if np.isnan(score[:, place]).all():
                raise RowsError(f"{stage} has no confidence in any row: nothing says which of its answers to keep")
        known = np.array(self.right, dtype=np.bool_), score, np.array(self._label, dtype=np.str_), self._told
        return Rows(*known) if joined is None else Rows(*known, joined.questions, joined.partial, joined.mixed)

    def _word(self, place: Place, column: str, cells: Mapping[str, Cell]) -> str:
        text = _text(_cell(place, column, cells))
        if not text:
            raise wrong(*place, "is empty", column)
        if len(text) > MAX_LABEL:
            judged = f"for answers that are not labels say who was right in {', '.join(b + CORRECT for b in self._begins)}"
            raise wrong(*place, f"{len(text)} characters are no label; {judged}", column)
        if text not in self._texts:
            if any("\ud800" <= each <= "\udfff" for each in text):  # which JSON can spell, and no document can hold
                raise wrong(*place, f"{text[:60]!a} is no text", column)
            self._texts[text] = text
        return self._texts[text]


def _all(paths: Sequence[Path], look: Callable[[int], None]) -> Iterator[_Row]:
    count = 0
    for path in paths:
        for line, cells in read(path):
            count += 1
            if not count % LOOK_EVERY:
                look(count)
            yield (str(path), line), cells


def _again(first: _Row, rest: Iterable[_Row]) -> Iterator[_Row]:
    yield first
    yield from rest


def _recorded(cells: Mapping[str, Cell]) -> bool:
    return cells.keys() >= set(RECORDED)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Recorded rows that all have answered; the rest as in Rows."""

    rows: list[_Row]
    questions: int
    partial: int
    mixed: tuple[str, ...]


class _Join:
    """Makes one of recorded lines that are about the same row of one request.

    A client may send one request id twice: lines that contradict each other are of two rows.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._latest: dict[tuple[Cell, ...], dict[str, Cell]] = {}
        self._rows: list[tuple[Place, dict[str, Cell]]] = []
        self._lines: set[int] = set()  # hashes
        self._versions: dict[str, set[Cell]] = {stage: set() for stage in columns}

    def take(self, place: Place, cells: Mapping[str, Cell]) -> None:
        """One line; nothing where it was there before, as in a copy of its file. Raises RowsError."""
        line = hash(tuple(cells.values()))
        if line in self._lines:
            return
        self._lines.add(line)
        for stage, begin in self._columns.items():
            if begin + VERSION in cells:
                self._versions[stage].add(cells[begin + VERSION])
        key = tuple(_cell(place, column, cells) for column in RECORDED)
        mine = {column: value for column, value in cells.items() if column.endswith((LABEL, CONFIDENCE))}
        known = self._latest.get(key, {})
        agree = all(known[column] == value for column, value in mine.items() if column in known)
        if known and agree and not mine.keys() <= known.keys():
            known.update(mine)
            return
        self._latest[key] = fresh = {**mine, "request": cells["request"]}
        self._rows.append((place, fresh))
        if len(self._rows) > MAX_ROWS:
            raise wrong(*place, f"more than {MAX_ROWS:,} rows: some thousands are enough, drawn by chance")

    def joined(self) -> _Joined:
        """All of them."""
        wanted = {begin + LABEL for begin in self._columns.values()}
        whole: list[_Row] = [(place, cells) for place, cells in self._rows if cells.keys() >= wanted]
        mixed = tuple(stage for stage, seen in self._versions.items() if len(seen) > 1)
        return _Joined(whole, len({cells["request"] for _, cells in whole}), len(self._rows) - len(whole), mixed)


def _joined(rows: Iterable[_Row], columns: Mapping[str, str], model: str) -> _Joined:
    """The lines of one model, joined. Raises RowsError."""
    join, models = _Join(columns), dict[str, None]()
    for place, cells in rows:
        whose = str(_cell(place, "model", cells))
        models[whose] = None
        if not model and len(models) > 1:
            raise wrong(*place, f"pairs of the models {', '.join(models)}: say which (--model)")
        if whose == (model or whose):
            join.take(place, cells)
    if model and model not in models:
        raise RowsError(f"no pairs of model {shown(model)}; there are those of {', '.join(models)}")
    return join.joined()


def _told(cells: Mapping[str, Cell], columns: Mapping[str, str], recorded: bool) -> Told:
    if recorded:
        return "dearest"
    if all(begin + CORRECT in cells for begin in columns.values()):
        return "correct"
    return "truth" if TRUTH in cells else "dearest"


def _check_columns(first: _Row, columns: Mapping[str, str], told: Told, recorded: bool) -> None:
    """All that will be needed is there, judged by the first row. Raises RowsError."""
    place, cells = first
    *cheap, dearest = columns.values()
    needed = [begin + CONFIDENCE for begin in cheap]
    needed += [] if told == "correct" else [begin + LABEL for begin in (*cheap, dearest)]
    for column in needed:
        if column not in cells and not recorded:
            raise missing((place[0], 1), column, cells)


def _cell(place: Place, column: str, cells: Mapping[str, Cell]) -> Cell:
    if column not in cells:
        raise wrong(*place, "is missing here, and the first row has it", column)
    return cells[column]


def _text(cell: Cell) -> str:
    """As a label is written in a policy: 7 and 7.0 are the same class."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _number(place: Place, column: str, cells: Mapping[str, Cell]) -> float:
    """NaN where there is none: such a row is never sure."""
    cell = _cell(place, column, cells)
    if cell is None or cell == "":
        return math.nan
    if cell != cell:  # NaN is what Parquet has for null
        return math.nan
    try:
        number = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        message = f"{shown(cell)} is not a number; where a model gave no confidence leave it empty: such rows always go up"
        decimal = (
            cell.replace(",", ".") if isinstance(cell, str) and cell.replace(",", ".", 1).replace(".", "", 1).isdigit() else None
        )
        raise wrong(*place, message, column, decimal)
    return number


def _correct(place: Place, column: str, cells: Mapping[str, Cell]) -> bool:
    word = _text(_cell(place, column, cells)).lower()
    if word not in ("0", "1", "true", "false"):
        raise wrong(*place, f"{shown(word)} is not one of 1, 0, true or false", column)
    return word in ("1", "true")
