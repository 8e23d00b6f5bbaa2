"""What a prompt router is worth: how much of the strong model's gain it brings at each share of strong calls.

Theory. Each prompt has a gain: by how much the strong model's answer is better than the weak one's (1 or 0 where the label just
says which was needed). Sending the share c of the prompts with the highest scores to the strong model recovers a part of the
whole gain, the performance gap recovered PGR(c); APGR is its mean over all c from 0 to 1: .5 for drawing lots, and never more
than what sorting by the gain itself gets, .75 where half of the labels say strong (Ong and others, RouteLLM, 2024). Equal
scores are taken in every order at once: a tie brings its mean gain.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Curve(msgspec.Struct, frozen=True):
    """By the number of prompts that go to the strong model, n + 1 points from none to all: the part of the gain, PGR."""

    recovered: Numbers

    @property
    def apgr(self) -> float:
        """The area under the curve, by trapezes."""
        return float((self.recovered[1:] + self.recovered[:-1]).mean() / 2)

    def at(self, share: float) -> float:
        """PGR where this share of the prompts goes to the strong model."""
        whole = np.linspace(0.0, 1.0, len(self.recovered))
        return float(np.interp(share, whole, self.recovered))


def curve(scores: Numbers, gains: Numbers) -> Curve:
    """The curve of these scores. Raises ValueError where the strong model gains nothing over all, so that there is no gap."""
    whole = float(gains.sum())
    if not whole > 0:
        raise ValueError("over all these rows the strong model is not better than the weak one: there is nothing to be gained")
    _, tied, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    means = np.bincount(tied, gains) / counts
    return Curve(np.concatenate([[0.0], np.cumsum(np.repeat(means, counts)) / whole]))


def threshold(scores: Numbers, share: float) -> float:
    """The highest score, in millionths, at and above which at least this share of the scores lies; 0 < share < 1."""
    place = min(len(scores), max(1, round(share * len(scores))))
    return float(np.floor(np.sort(scores)[-place] * 1e6) / 1e6)


def interval(scores: Numbers, gains: Numbers, seed: int, resamples: int = 400) -> tuple[float, float]:
    """95 % of APGR's over resamples of the rows (percentile bootstrap); those without a gap are left out."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = chance.integers(0, len(scores), len(scores))
        if gains[drawn].sum() > 0:
            found.append(curve(scores[drawn], gains[drawn]).apgr)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
