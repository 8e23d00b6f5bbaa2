"""What a raw score is worth: for each predicted label a map from it to the chance that the answer is right, fitted and applied.

A model that is sure of a label is not as often right with each label: a threshold on its raw score keeps wrong rows of one
label and sends right rows of another up. So each predicted label has its own map, rising (isotonic regression; Barlow and others
1972), from rows whose answers are known. Of each level of that step function the map keeps one knot, at the level's mean score,
and is linear between knots (centred isotonic regression; Oron and Flournoy 2017), so that ties are few and cuts fine. Each level
is worth what it would be with one more row, as right as all rows of the map are: of five rows that were all right no more is
known than that, and the highest levels of all labels would tie at certainty, so that a cut could only keep or send up all of
them. Labels with few rows share the map `other`, which is fitted to all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import isfinite

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Knots = tuple[tuple[float, float], ...]  # (raw score, chance of being right), both rising

OTHER = "other"  # the map of all labels that have none of their own
FEW = 30  # rows of a predicted label, below which it has no map of its own


class Calibration(msgspec.Struct, frozen=True, dict=True):
    """By predicted label the knots of its map. Linear between knots, flat outside; `other` is for all other labels."""

    maps: Mapping[str, Knots]

    def apply(self, raw: Floats, labels: Sequence[str]) -> Floats:
        """The calibrated scores of n rows; minus infinity, which no threshold accepts, where `raw` is NaN or infinite."""
        codes = self._table[4]
        other = codes[OTHER]
        return self._worth(raw, np.array([codes.get(label, other) for label in labels], np.intp))

    def apply_places(self, raw: Floats, places: NDArray[np.intp], classes: int) -> Floats:
        """The same where labels are the places of so many classes: "0", "1" and so on."""
        return self._worth(raw, self._codes(classes).take(places))

    def _codes(self, classes: int) -> NDArray[np.intp]:
        known: dict[int, NDArray[np.intp]] = self.__dict__.setdefault("_places", {})
        if classes not in known:
            codes = self._table[4]
            known.clear()  # a model has one number of classes
            known[classes] = np.array([codes.get(str(place), codes[OTHER]) for place in range(classes)], np.intp)
        return known[classes]

    def _worth(self, raw: Floats, cells: NDArray[np.intp]) -> Floats:
        """`cells`: the first one of each row's map."""
        grid, values, slopes, anchors, _ = self._table
        known = isfinite(raw.dot(raw))  # in a third of the time that looking at each takes
        if not known:
            raw = np.where(np.isfinite(raw), raw, np.nan)
        at = grid.searchsorted(raw, side="right")
        cell = cells + at
        found = values.take(cell) + slopes.take(cell) * (raw - anchors.take(at))
        return found if known else np.where(found == found, found, -np.inf)

    @cached_property
    def _table(self) -> tuple[Floats, Floats, Floats, Floats, dict[str, int]]:
        """All maps on the union of their knots, where each is linear between neighbours: one search for rows of all labels.

        Cells of a map: below the first knot, between each two, above the last. Values and slopes of all maps' cells in one row,
        and by label where its map's begin.
        """
        grid = np.unique([raw for knots in self.maps.values() for raw, _ in knots])
        known = np.array([np.interp(grid, *np.array(knots).T) for knots in self.maps.values()])
        slopes = np.pad(np.diff(known, axis=1) / np.diff(grid), ((0, 0), (1, 1)))
        values = np.concatenate((known[:, :1], known), axis=1)
        anchors = np.concatenate((grid[:1], grid))
        cells = {label: row * len(anchors) for row, label in enumerate(self.maps)}
        return grid, values.ravel(), slopes.ravel(), anchors, cells


def fit(raw: Floats, labels: Sequence[str], worth: Floats, few: int = FEW) -> Calibration:
    """The maps of n rows, `worth` being 1 where the answer was right and 0 where not. Only rows with a finite score count."""
    known = np.isfinite(raw)
    raw, names, worth = raw[known], np.asarray(labels)[known], worth[known]
    maps = {OTHER: _knots(raw, worth)}
    for name, rows in zip(*np.unique(names, return_counts=True), strict=True):
        if rows >= few and str(name) != OTHER:
            maps[str(name)] = _knots(raw[names == name], worth[names == name])
    return Calibration(maps)


def _knots(raw: Floats, worth: Floats) -> Knots:
    """One knot for each level of the isotonic regression of `worth` on `raw`, with one row more in each."""
    if len(raw) == 0:
        return ((0.0, 0.0),)
    points, where, counts = np.unique(raw, return_inverse=True, return_counts=True)
    sums, mean = np.bincount(where, weights=worth), float(worth.mean())
    each = zip(counts.tolist(), sums.tolist(), (points * counts).tolist(), strict=True)
    levels = _rising(_rising(each, 0.0, mean), 1.0, mean)
    # In few digits, so that what is printed is what was tested; of knots that fall together the last stays.
    return tuple({float(f"{at / rows:.9g}"): round((total + mean) / (rows + 1), 6) for rows, total, at in levels}.items())


_Level = tuple[float, float, float]  # rows, sum of their worth, sum of their raw scores


def _rising(levels: Iterable[_Level], more: float, mean: float) -> list[_Level]:
    """Pools neighbours until each is worth more than the one before, with so many more rows in each (pool adjacent violators)."""
    found: list[_Level] = []
    for rows, total, at in levels:
        while found:
            below = found[-1]
            if (below[1] + more * mean) * (rows + more) < (total + more * mean) * (below[0] + more):
                break
            rows, total, at = rows + below[0], total + below[1], at + below[2]
            found.pop()
        found.append((rows, total, at))
    return found
