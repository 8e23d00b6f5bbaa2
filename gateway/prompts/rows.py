"""Makes of what files say the prompts a router learns from: each text, and what the strong model gains on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway.calibrate.reading import Cell, RowsError, read, wrong
from gateway.configuration.problems import nearest, shown
from routing.prompt.gain import Numbers

MAX_ROWS = 200_000
FEWEST = 100  # rows; and of each kind
FEWEST_OF_KIND = 10
_STRONG, _WEAK = ("strong", "1", "true"), ("weak", "0", "false")

Place = tuple[str, int]  # file, line


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns say what. Either `label` (strong or weak), or the quality of both answers, `weak` and `strong`."""

    text: str
    label: str = ""
    weak: str = ""
    strong: str = ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """All that must be there."""
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
                _check_column(place, column, cells)
            texts.append(_text(place, columns.text, cells))
            gains.append(_gain(place, columns, cells))
    return Prompts(texts, np.array(gains, dtype=np.float64))


def check_enough(prompts: Prompts) -> None:
    """Raises RowsError where nothing could be learnt."""
    strong = int(prompts.needed.sum())
    weak = len(prompts.texts) - strong
    if len(prompts.texts) < FEWEST or min(strong, weak) < FEWEST_OF_KIND:
        raise RowsError(
            f"{len(prompts.texts)} rows, {strong} of them strong and {weak} weak; a router needs {FEWEST},"
            f" and {FEWEST_OF_KIND} of each kind (some 1,500 make a good one)"
        )


def _check_column(place: Place, column: str, cells: Mapping[str, Cell]) -> None:
    if column not in cells:
        known = ", ".join(list(cells)[:12])
        message = f"there is no column {shown(column)}; there are {known}{', …' if len(cells) > 12 else ''}"
        raise wrong(*place, message, suggestion=nearest(column, cells))


def _text(place: Place, column: str, cells: Mapping[str, Cell]) -> str:
    """As the gateway will read it from a request's bytes, where no lone surrogates can be."""
    cell = cells[column]
    if not isinstance(cell, str):
        raise wrong(*place, f"{shown(cell)} is no text", column)
    return cell.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _gain(place: Place, columns: Columns, cells: Mapping[str, Cell]) -> float:
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
