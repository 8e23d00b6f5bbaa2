"""Makes of what files say the prompts a router learns from: each text, and what the strong model gains on it.

What a shadow has recorded (gateway/telemetry/pairs.py) has no texts: those come from elsewhere, with the requests' ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway.calibrate.reading import Cell, RowsError, missing, read, wrong
from gateway.configuration.problems import nearest, shown
from routing.prompt.gain import Numbers

MAX_ROWS = 200_000
FEWEST = 100  # rows; and of each kind
FEWEST_OF_KIND = 10
REQUEST, ROW = "request", "row"  # columns of recorded pairs
_STRONG, _WEAK = ("strong", "1", "true"), ("weak", "0", "false")

Place = tuple[str, int]  # file, line
Pairs = Mapping[tuple[str, int], bool]  # by request id and row: whether the two variants' labels differ


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns say what: `label` (strong or weak), or the quality of both answers, `weak` and `strong`; or none of
    them, but `request` (and `row`, if there are several) where recorded `pairs` tell.
    """

    text: str
    label: str = ""
    weak: str = ""
    strong: str = ""
    pairs: Pairs | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """All that must be there."""
        if self.pairs is not None:
            return self.text, REQUEST
        return (self.text, *((self.label,) if self.label else (self.weak, self.strong)))


@dataclass(frozen=True, slots=True)
class Prompts:
    """n texts, and by how much the strong model's answer is better: 1 or 0 where a label says which was needed."""

    texts: list[str]
    gains: Numbers

    @property
    def needed(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whose answer is better from the strong model."""
        return self.gains > 0


def gather(paths: Iterable[Path], columns: Columns) -> Prompts:
    """The files' rows. Raises RowsError and OSError."""
    texts, gains = list[str](), list[float]()
    for path in paths:
        for line, cells in read(path):
            place = (str(path), line)
            if len(texts) == MAX_ROWS:
                raise wrong(*place, f"more than {MAX_ROWS:,} rows: some thousands are enough, drawn by chance")
            for column in columns.wanted:
                if column not in cells:
                    raise missing(place, column, cells)
            if columns.pairs is not None and _key(place, cells) not in columns.pairs:
                continue  # not every question is mirrored
            texts.append(_text(place, columns.text, cells))
            gains.append(_gain(place, columns, cells))
    return Prompts(texts, np.array(gains, dtype=np.float64))


def recorded(paths: Iterable[Path], weak: str, strong: str) -> Pairs:
    """What shadows have recorded of the two variants. Raises RowsError, also where they say nothing of them, and OSError."""
    found: dict[tuple[str, int], bool] = {}
    labels = (f"{weak}_label", f"{strong}_label")
    for path in paths:
        for line, cells in read(path):
            if len(found) == MAX_ROWS:
                raise wrong(str(path), line, f"more than {MAX_ROWS:,} rows: some thousands are enough, drawn by chance")
            if all(label in cells for label in labels):
                found[_key((str(path), line), cells)] = cells[labels[0]] != cells[labels[1]]
    if not found:
        raise RowsError(f"no recorded row has an answer of both {shown(weak)} and {shown(strong)}")
    return found


def _key(place: Place, cells: Mapping[str, Cell]) -> tuple[str, int]:
    request, row = cells.get(REQUEST), cells.get(ROW, 0)
    try:
        return str(request), int(row or 0)
    except ValueError:
        raise wrong(*place, f"{shown(row)} is no row: the first of a request is 0", ROW) from None


def check_enough(prompts: Prompts) -> None:
    """Raises RowsError where nothing could be learnt."""
    strong = int(prompts.needed.sum())
    weak = len(prompts.texts) - strong
    if len(prompts.texts) < FEWEST or min(strong, weak) < FEWEST_OF_KIND:
        raise RowsError(
            f"{len(prompts.texts)} rows, {strong} of them strong and {weak} weak; a router needs {FEWEST},"
            f" and {FEWEST_OF_KIND} of each kind (some 1,500 make a good one)"
        )


def _text(place: Place, column: str, cells: Mapping[str, Cell]) -> str:
    """As the gateway will read it from a request's bytes, where no lone surrogates can be."""
    cell = cells[column]
    if not isinstance(cell, str):
        raise wrong(*place, f"{shown(cell)} is no text", column)
    return cell.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _gain(place: Place, columns: Columns, cells: Mapping[str, Cell]) -> float:
    if columns.pairs is not None:
        return float(columns.pairs[_key(place, cells)])
    if not columns.label:
        return _quality(place, columns.strong, cells) - _quality(place, columns.weak, cells)
    word = _word(cells[columns.label])
    if word not in (*_STRONG, *_WEAK):
        raise wrong(*place, f"{shown(word)} is neither strong nor weak", columns.label, nearest(word, ("strong", "weak")))
    return float(word in _STRONG)


def _word(cell: Cell) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # what Parquet and spreadsheets make of whole numbers
    return str(cell).strip().lower()


def _quality(place: Place, column: str, cells: Mapping[str, Cell]) -> float:
    cell = cells[column]
    word = _word(cell)
    try:
        number = {"true": 1.0, "false": 0.0}.get(word) if word in ("true", "false") else float(word)
    except ValueError:
        number = None
    if number is None or not abs(number) <= 1e6:
        raise wrong(*place, f"{shown(cell)} is no quality: a number such as 0.8, or 1 and 0 for right and wrong", column)
    return number
