"""Cuts for a cascade that keep a promise: so much of the dearest model's quality, with stated confidence, at least cost.

A third of the rows fits: the maps from raw score to chance of being right, and a path of candidates, from the one that looks
safest to the cheapest. The others certify: candidates are tested in that order, each at the whole delta, until the first that
fails (fixed-sequence testing: Maurer, Hothorn and Lehmacher 1995; Angelopoulos and others 2021, "Learn then test"). The first
candidate on the path that breaks the promise passes with a chance of delta at most, and without that none behind it is reached;
so the cheapest that passed can be taken. That the path looks good because it was made of its own rows costs nothing: no row that
made it tests it. All of it holds for rows drawn like the traffic, and for no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import takewhile
from math import ceil, exp, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from routing.cascade import anytime, exact
from routing.cascade.calibration import Calibration, fit
from routing.cascade.cuts import Answers, Outcomes, outcomes, path, right
from routing.cascade.exact import Pairs

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

FIT = 1 / 3  # of the rows
LEAST = 30  # rows of the fit part
SPARE = 1 / 8  # of the losses that the promise allows: what a good cascade is assumed to lose, where labels are planned
POWER = 0.8  # the chance that such a one is certified
MORE = (2, 4, 8)  # times as many labels
ROUGH = 200  # losses and gains from which on a forecast, and nothing else, takes the normal approximation
WORTH = 0.005  # of relative cost: less is not worth labels


@dataclass(frozen=True, slots=True)
class Promise:
    """P(quality of the cascade >= `quality` * quality of the dearest) >= 1 - `delta`; both in (0, 1)."""

    quality: float = 0.99
    delta: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.quality < 1 and 2 * exact.BETA <= self.delta < 1):
            raise ValueError(f"quality lies between 0 and 1, delta between {2 * exact.BETA:g} and 1")


@dataclass(frozen=True, slots=True)
class Labelled:
    """n rows that each of k >= 2 stages has answered, in the cascade's order; the promise is about the last, the dearest.

    With `truth` the dearest model's answer is the truth (its column of `right` is all true): a stricter wish.
    """

    right: Bools  # (n, k)
    score: Floats  # (n, k - 1): raw; NaN is not sure
    label: NDArray[np.str_]  # (n, k - 1): what each stage but the last predicted
    cost: Floats  # (k,): of one row; a row pays for every stage it reaches
    truth: bool = False

    def __post_init__(self) -> None:
        n, k = self.right.shape
        if k < 2 or self.score.shape != (n, k - 1) or self.label.shape != (n, k - 1) or self.cost.shape != (k,):
            raise ValueError("right is (rows, stages), score and label (rows, stages - 1), cost (stages,)")
        if not self.cost[-1] > 0 or not np.all(self.cost >= 0):
            raise ValueError("no cost is below 0, and the last stage's is above")
        if self.truth and not self.right[:, -1].all():
            raise ValueError("where the dearest model's answer is the truth, it is right on all rows")


@dataclass(frozen=True)
class Point:
    """One candidate, as the certify part sees it."""

    cuts: tuple[float | None, ...]  # `accept` of each stage but the last, for the calibrated score; None: leave this stage out
    cost: float  # of a row on average, relative to always asking the dearest
    shares: tuple[float, ...]  # of the rows, answered by each stage
    pairs: Pairs  # won and lost against the dearest
    before: Pairs  # the same on the fit part
    p: float | None  # the test's p-value, or 1 over the largest fortune; None: not tested, as one before it failed
    certified: bool  # this one and all before it passed
    promise: Promise
    bets: bool = False

    @property
    def quality(self) -> float:
        """Relative to the dearest's, as estimated."""
        return self.pairs.quality

    @cached_property
    def lower(self) -> float:
        """The lower confidence bound at 1 - delta of that quality, for this point alone; takes up to half a second."""
        if self.bets:
            return exact.largest(lambda quality: anytime.fortune(self.pairs, quality, self.before) >= -log(self.promise.delta))
        return exact.lower_bound(self.pairs, self.promise.delta, self.before.dear / self.before.rows)


@dataclass(frozen=True)
class Certified:
    """What came out. Without `chosen` the answer is: call the dearest directly, and `why` says for what reason."""

    promise: Promise
    chosen: Point | None
    why: str
    calibrations: tuple[Calibration, ...]  # of each stage but the last
    curve: tuple[Point, ...]  # the candidates, safest first, as they were tested
    fit_rows: int
    certify_rows: int

    @cached_property
    def more(self) -> tuple[tuple[int, float], ...]:
        """(labels in all, relative cost to hope for), where that is less than now, if more labels are like these."""
        found = []
        passed = sum(point.certified for point in self.curve)
        least = self.chosen.cost if self.chosen else 1.0
        for times in MORE:
            passed += sum(1 for _ in takewhile(partial(_would_pass, times), self.curve[passed:]))
            cost = min((point.cost for point in self.curve[:passed]), default=1.0)
            if cost < least - WORTH:
                found.append(((self.fit_rows + self.certify_rows) * times, cost))
                least = cost
        return tuple(found)


def calibrate(labelled: Labelled, promise: Promise, seed: int = 0, first: int | None = None) -> Certified:
    """Splits, fits, tests and chooses.

    Without `first` the rows are shuffled by `seed`, a third of them fits, and the result is to be read once. With `first` the
    first so many rows fit, and those that follow are bet on in the order they came (which must be that of random draws): it may
    be read again after every new row, with the same `first`, and each reading's promise holds; that takes more rows.
    """
    rows = len(labelled.right)
    order = np.random.default_rng(seed).permutation(rows) if first is None else np.arange(rows)
    count = int(rows * FIT) if first is None else first
    if not LEAST <= count < rows:
        raise ValueError(f"{count} of {rows} rows to fit: it takes {LEAST} at least, and some to certify")
    calibrations = _maps(labelled, order[:count])
    answers = _answers(labelled, calibrations)
    fitted, tested = (_part(answers, part) for part in (order[:count], order[count:]))
    cuts = path(fitted, promise.quality)
    trial = _Trial(fitted, tested, promise, labelled.truth, first is not None)
    curve = tuple(trial.points(cuts)) if len(cuts) else ()
    passed = [point for point in curve if point.certified and point.cost < 1]
    chosen = min(passed, key=lambda point: point.cost, default=None)
    why = _why(chosen, curve, trial)
    return Certified(promise, chosen, why, calibrations, curve, count, rows - count)


def _maps(labelled: Labelled, rows: Ints) -> tuple[Calibration, ...]:
    right = labelled.right[rows].astype(np.float64)
    return tuple(
        fit(labelled.score[rows, stage], labelled.label[rows, stage].tolist(), right[:, stage])
        for stage in range(labelled.score.shape[1])
    )


def _answers(labelled: Labelled, calibrations: tuple[Calibration, ...]) -> Answers:
    scores = [
        calibration.apply(labelled.score[:, stage], labelled.label[:, stage].tolist())
        for stage, calibration in enumerate(calibrations)
    ]
    return Answers(labelled.right, np.stack(scores, axis=1), labelled.cost)


def _part(answers: Answers, rows: Ints) -> Answers:
    return Answers(answers.right[rows], answers.score[rows], answers.cost)


@dataclass(frozen=True, slots=True)
class _Trial:
    """The tests of one path."""

    fitted: Answers
    tested: Answers
    promise: Promise
    truth: bool
    bets: bool

    def points(self, cuts: Floats) -> Iterator[Point]:
        """Each candidate's, in their order; after the first that fails none is tested."""
        before, now = outcomes(cuts, self.fitted), outcomes(cuts, self.tested)
        going = True
        for at in range(len(cuts)):
            point = Point(
                cuts=tuple(float(cut) if np.isfinite(cut) else None for cut in cuts[at]),
                cost=float(now.cost[at]),
                shares=tuple(now.shares[at].tolist()),
                pairs=self._pairs(now, at, self.tested),
                before=self._pairs(before, at, self.fitted),
                p=None,
                certified=False,
                promise=self.promise,
                bets=self.bets,
            )
            if going:
                p = self.p_value(point, cuts[at])
                going = p <= self.promise.delta
                point = replace(point, p=p, certified=going)
            yield point

    def p_value(self, point: Point, cuts: Floats) -> float:
        """How likely so good an outcome is at most where the promise is broken."""
        if not self.bets:
            return exact.p_value(point.pairs, self.promise.quality, point.before.dear / point.before.rows)
        kept, dear = right(cuts, self.tested), self.tested.right[:, -1]
        return min(1.0, exp(-float(anytime.fortunes(kept, dear, self.promise.quality, point.before).max())))

    def _pairs(self, seen: Outcomes, at: int, answers: Answers) -> Pairs:
        dear = answers.right[:, -1]
        return Pairs(len(dear), int(dear.sum()), int(seen.losses[at]), int(seen.gains[at]), self.truth)


def _why(chosen: Point | None, curve: tuple[Point, ...], trial: _Trial) -> str:
    promise, cost, rows = trial.promise, trial.fitted.cost, len(trial.tested.right)
    wish = f"{promise.quality:.1%} of the dearest model's quality"
    if chosen is not None:
        return f"the cheapest of {sum(point.certified for point in curve)} candidates that passed (p = {chosen.p:.4f})"
    if cost[:-1].min() >= cost[-1]:
        return "no stage costs less than the last"
    if not curve:
        return f"on the rows that fit, no cut both costs less than the dearest model alone and keeps {wish}"
    safest = curve[0]
    if safest.certified:
        return "what passed costs no less than the dearest model alone"
    guess = max(safest.before.dear / safest.before.rows, exact.LEAST_GUESS)
    if exact.p_value(replace(safest.pairs, losses=0, gains=0), promise.quality, guess) > promise.delta:
        needed = labels_needed(promise, 1.0 if trial.truth else guess)
        return f"{rows} rows to certify are too few for any cascade to show that it keeps {wish}; plan {needed} labels"
    return (
        f"the safest candidate lost {safest.pairs.losses} of {rows} rows against the dearest model and won {safest.pairs.gains}: "
        f"too little to show that it keeps {wish} (p = {safest.p:.3f})"
    )


def _would_pass(times: int, point: Point) -> bool:
    """Whether it would with so many times the rows, with a chance of POWER."""
    pairs = point.pairs
    unlucky = NormalDist().inv_cdf(POWER) * sqrt((pairs.losses + pairs.gains + 0.5) * times)
    losses = min(ceil(pairs.losses * times + unlucky), pairs.dear * times)
    more = Pairs(pairs.rows * times, pairs.dear * times, losses, pairs.gains * times, pairs.truth)
    guess, promise = point.before.dear / point.before.rows, point.promise
    if more.losses + more.gains > ROUGH:
        margin = (1 - promise.quality) * more.dear / more.rows
        return float(exact.score(more.losses, more.gains, more.rows, margin)) <= NormalDist().inv_cdf(promise.delta)
    return exact.p_value(more, promise.quality, guess) <= promise.delta


def labels_needed(promise: Promise, dear_quality: float = 1.0) -> int:
    """How many rows, fit part included, until a good cascade is certified with a chance of POWER.

    Good is one that loses SPARE of what it may and wins nothing; `dear_quality` is 1 where its answer is the truth.
    """
    return ceil(certify_rows_needed(promise, dear_quality) / (1 - FIT))


def certify_rows_needed(promise: Promise, dear_quality: float = 1.0) -> int:
    """The same without the fit part."""
    if not exact.LEAST_GUESS <= dear_quality <= 1:
        raise ValueError(f"the dearest model's quality lies between {exact.LEAST_GUESS} and 1")
    for losses in range(1000):
        rows = _rows_allowing(losses, promise, dear_quality)
        if exact.binomial(losses, rows, SPARE * (1 - promise.quality) * dear_quality) >= POWER:
            return rows
    raise AssertionError("a thousand losses are enough for any promise")


def _rows_allowing(losses: int, promise: Promise, dear_quality: float) -> int:
    """The fewest rows that may have so many losses."""

    def enough(rows: int) -> bool:
        pairs = Pairs(rows, round(rows * dear_quality), losses, 0, dear_quality >= 1)
        return exact.p_value(pairs, promise.quality, dear_quality) <= promise.delta

    low, high = losses, losses + 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
