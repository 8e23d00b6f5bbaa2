"""Cuts for a cascade that keep a promise: so much of the dearest model's quality, with stated confidence, at least cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.cascade.calibration import Calibration

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Promise:
    """P(quality of the cascade >= `quality` * quality of the dearest) >= 1 - `delta`; both in (0, 1)."""

    quality: float = 0.99
    delta: float = 0.05


@dataclass(frozen=True, slots=True)
class Labelled:
    """n rows that each of k stages has answered, in the cascade's order; the last is the dearest, which the promise is about.

    Where the dearest model's answer is taken for the truth, its column of `right` is all true: a stricter wish.
    """

    right: Bools  # (n, k)
    score: Floats  # (n, k - 1): raw; NaN is not sure
    label: NDArray[np.str_]  # (n, k - 1): what each stage but the last predicted
    cost: Floats  # (k,): of one row; a row pays for every stage it reaches


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate, as the certify part sees it."""

    cuts: tuple[float, ...]  # `accept` of each stage but the last, to be compared with the calibrated score
    cost: float  # of a row on average, relative to always asking the dearest
    quality: float  # relative to the dearest's
    lower: float  # its lower confidence bound at 1 - delta, of this point alone
    shares: tuple[float, ...]  # of the rows, answered by each stage
    certified: bool


@dataclass(frozen=True, slots=True)
class Certified:
    """What came out. Without `chosen` the answer is: call the dearest directly, and `why` says for what reason."""

    promise: Promise
    chosen: Point | None
    why: str
    calibrations: tuple[Calibration, ...]  # of each stage but the last
    curve: tuple[Point, ...]  # all candidates, safest first, as they were tested
    fit_rows: int
    certify_rows: int
    more: tuple[tuple[int, float], ...]  # (labels in all, expected relative cost with so many)


def calibrate(labelled: Labelled, promise: Promise, seed: int = 0, anytime: bool = False) -> Certified:
    """Splits, fits, tests and chooses. `anytime` uses bets that may be read after every new label (and need more of them)."""
    raise NotImplementedError


def labels_needed(promise: Promise, dear_quality: float = 1.0) -> int:
    """How many rows, fit part included, until a good cascade can be certified."""
    raise NotImplementedError


def anytime_wealth(right: Bools, cuts: Sequence[float]) -> Floats:
    """Placeholder of the reading after every label."""
    raise NotImplementedError
