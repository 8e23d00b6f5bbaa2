"""Which cuts are worth testing, and what each of them does to rows that all stages have answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.cascade.exact import score

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SKIP = np.inf  # in place of a cut: this stage is not asked at all
FINEST = 40  # cuts of one stage
MOST = 1000  # combinations of all stages' cuts
TESTED = 20  # of them that are tested: each more is a further chance to fail
BLOCK = 20_000_000  # cells of one array


@dataclass(frozen=True, slots=True)
class Answers:
    """n rows that k stages answered: right (n, k), calibrated scores (n, k - 1), cost of a row (k,)."""

    right: Bools
    score: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of p candidates on n rows."""

    losses: Ints  # (p,) rows that the dearest answers rightly and the cascade wrongly
    gains: Ints  # (p,) the other way round
    shares: Floats  # (p, k) of the rows, answered by each stage
    cost: Floats  # (p,) relative to always asking the dearest


def outcomes(cuts: Floats, answers: Answers) -> Outcomes:
    """What candidates with these cuts (p, k - 1) do: a row is kept by the first stage whose score reaches its cut."""
    step = max(1, BLOCK // max(1, len(answers.right)))
    parts = [_outcomes(cuts[start : start + step], answers) for start in range(0, len(cuts), step)]
    losses, gains, shares, cost = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Outcomes(losses, gains, shares, cost)


def _outcomes(cuts: Floats, answers: Answers) -> tuple[Ints, Ints, Floats, Floats]:
    right, dear, n = answers.right, answers.right[:, -1], len(answers.right)
    going = np.ones((len(cuts), n), dtype=np.bool_)
    losses, gains = np.zeros((2, len(cuts)), dtype=np.int64)
    shares = np.zeros((len(cuts), right.shape[1]))
    cost = np.zeros(len(cuts))
    for stage in range(right.shape[1] - 1):
        asked = np.isfinite(cuts[:, stage])
        cost += np.where(asked, going.mean(axis=1) * answers.cost[stage], 0.0)
        kept = going & (answers.score[:, stage] >= cuts[:, stage, None])
        losses += (kept & (dear & ~right[:, stage])).sum(axis=1)
        gains += (kept & (~dear & right[:, stage])).sum(axis=1)
        shares[:, stage] = kept.mean(axis=1)
        going &= ~kept
    shares[:, -1] = going.mean(axis=1)
    return losses, gains, shares, (cost + shares[:, -1] * answers.cost[-1]) / answers.cost[-1]


def right(cuts: Floats, answers: Answers) -> Bools:
    """Whether the cascade with these cuts (k - 1,) is right on each row."""
    found, going = answers.right[:, -1].copy(), np.ones(len(answers.right), dtype=np.bool_)
    for stage, cut in enumerate(cuts.tolist()):
        kept = going & (answers.score[:, stage] >= cut)
        found[kept] = answers.right[kept, stage]
        going &= ~kept
    return found


def path(answers: Answers, quality: float) -> Floats:
    """The candidates to test, safest first; none that looks dearer than the dearest alone, or worse than promised.

    Of all combinations of cuts at even shares of the rows those stay that no cheaper one beats in safety, which is the test's
    statistic on these rows. How many others will test them plays no part: so the path is the same after every new label.
    """
    cuts, rows = _grid(answers), len(answers.right)
    seen = outcomes(cuts, answers)
    margin = (1 - quality) * max(float(answers.right[:, -1].mean()), 1 / rows)
    safety = score(seen.losses + np.float64(0.5), seen.gains.astype(np.float64), rows, margin)
    front: list[int] = []
    for at in np.lexsort((safety, seen.cost)).tolist():
        if seen.cost[at] < 1 and safety[at] < (safety[front[-1]] if front else 0.0):
            front.append(at)
    order = np.array(front[::-1], dtype=np.int64)
    some = (
        np.unique(np.linspace(0, max(0, len(order) - 1), TESTED).round().astype(np.int64)) if len(order) > TESTED else slice(None)
    )
    return cuts[order[some]]


def _grid(answers: Answers) -> Floats:
    stages = answers.score.shape[1]
    each = min(FINEST, int(MOST ** (1 / stages)))
    columns = [np.append(_cuts(answers.score[:, stage], each), SKIP) for stage in range(stages)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*columns, indexing="ij")], axis=1)


def _cuts(scores: Floats, count: int) -> Floats:
    """Cuts that keep even shares of these rows, all of them among these, in few digits: what is printed is what was tested."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return np.zeros(0)
    return np.unique(np.floor(np.quantile(known, np.arange(count) / count, method="lower") * 1e6) / 1e6)
