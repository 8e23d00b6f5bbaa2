"""An exact test that a cascade keeps its promise, from pairs: rows that it won or lost against the dearest model.

Of n rows each is a loss with the chance l (the dearest is right, the cascade wrong), a gain with g (the other way round), or
neither; the dearest is right with the chance q. The promise is broken if q - l + g < rho * q, which is l - g > (1 - rho) q =: m.

Statistic: Tango's score (1998, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design"), which is low where losses exceed gains by less than a margin that is fixed beforehand. Its normal
approximation breaks its level where losses are rare, so the chance of what was seen, or of anything lower, is summed from the
multinomial distribution itself. That chance depends on g and q, which nobody knows. Berger and Boos (1994): take the largest
over an exact confidence region of both (Clopper and Pearson 1934) that misses them with a chance of `BETA`, and add `BETA`.

The statistic rises with losses and falls with gains, so for each g the chance falls with l: the worst broken promise has
l = g + m, with the smallest q. Over g it is nearly flat, as the statistic is studentised, and its largest value is looked for on
a grid. Where the dearest model's answer is the truth, q is 1 and g is 0, and the test is the binomial one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BETA = 0.001  # the chance that the region misses g or q, half for each
STEPS = 9  # values of g, and as many again around the best of them
REACH = 4.0  # standard deviations that are summed, and 20 more rows; what lies outside is taken as against the cascade
LEAST_GUESS = 0.05
TIE = 1e-9  # statistics closer than this are equal


@dataclass(frozen=True, slots=True)
class Pairs:
    """What `rows` rows showed: on `dear` the dearest was right, `losses` and `gains` the cascade lost and won against it.

    With `truth` the dearest's answer is the truth: it is right on all rows by definition, and nothing can be gained.
    """

    rows: int
    dear: int
    losses: int
    gains: int
    truth: bool = False

    @property
    def quality(self) -> float:
        """Of the cascade relative to the dearest's, as estimated."""
        return (self.dear - self.losses + self.gains) / self.dear if self.dear else 1.0


def score(losses: Floats | float, gains: Floats | float, n: float, margin: float) -> Floats:
    """By how many standard deviations losses exceed gains by more than n * margin; low is good (Tango 1998)."""
    half = losses * (1 + margin) + gains * (1 - margin) - 2 * n * margin
    g = (half + np.sqrt(half * half + 8 * n * margin * (1 - margin) * gains)) / (4 * n)  # the likeliest where l = g + margin
    return np.asarray((losses - gains - n * margin) / np.sqrt(n * (2 * g + margin * (1 - margin))))


def p_value(pairs: Pairs, quality: float, guess: float = 1.0) -> float:
    """The largest chance of pairs as good as these, or better, under a broken promise of `quality`; 1 where it is plainly high.

    `guess` is the dearest model's quality, from anywhere but these rows: it sharpens the statistic and is not trusted.
    """
    if pairs.truth:
        return binomial(pairs.losses, pairs.rows, 1 - quality)
    order = (1 - quality) * min(max(guess, LEAST_GUESS), 1.0)
    bar = float(score(float(pairs.losses), float(pairs.gains), pairs.rows, order)) + TIE
    margin = max((1 - quality) * lowest(pairs.dear, pairs.rows, BETA / 2), 1e-12)  # some, so that logarithms are finite
    if bar > 0:
        return 1.0
    low, high = lowest(pairs.gains, pairs.rows, BETA / 4), highest(pairs.gains, pairs.rows, BETA / 4)
    high = min(high, (1 - margin) / 2)
    if low >= high:  # with so many gains there is no room for the losses of a broken promise
        return BETA
    return min(1.0, _worst(pairs.rows, margin, (low, high), bar, order) + BETA)


def _worst(n: int, margin: float, gains: tuple[float, float], bar: float, order: float) -> float:
    """The largest chance of a score of at most `bar` where losses are likelier than gains by `margin`, over g in its interval."""
    roots = np.linspace(np.sqrt(gains[0]), np.sqrt(gains[1]), STEPS)  # in even steps of its standard deviation
    top = int(_window(n, gains[1] + margin)[-1])
    fewest = _fewest(min(n, top + 1) + 1, n, bar, order)  # one more than top: a root's square is not quite its square

    def at(root: float) -> float:
        return _chance(n, root * root + margin, root * root, fewest)

    found = [at(root) for root in roots.tolist()]
    best = int(np.argmax(found))
    near = np.linspace(roots[max(0, best - 1)], roots[min(STEPS - 1, best + 1)], STEPS)
    return max(*found, *(at(root) for root in near.tolist()))


def lower_bound(pairs: Pairs, delta: float, guess: float = 1.0) -> float:
    """The relative quality that the cascade keeps with confidence 1 - delta."""
    return largest(lambda quality: p_value(pairs, quality, guess) <= delta)


def largest(holds: Callable[[float], bool]) -> float:
    """The largest quality below 1 for which it holds, to a hundredth of what is missing from 1; 0 if for none."""
    low, missing = -12.0, 0.0  # logarithms of what is missing
    if not holds(1 - np.exp(missing - 1e-3)):
        return 0.0
    while missing - low > 0.01:
        middle = (low + missing) / 2
        low, missing = (low, middle) if holds(1 - float(np.exp(middle))) else (middle, missing)
    return 1 - float(np.exp(missing))


def _chance(n: int, loss: float, gain: float, fewest: Ints) -> float:
    """P(gains >= fewest[losses]) where each of n rows is a loss or a gain with these chances."""
    losses, gains, facts = _window(n, loss), _window(n, gain), log_factorials(n)
    rest = n - np.add.outer(losses, gains)
    below = (gains < fewest[losses][:, None]) & (rest >= 0)
    lost, won = losses * np.log(loss) - facts[losses], gains * np.log(gain or 1.0) - facts[gains]
    rest = rest[below]
    logs = np.add.outer(lost, won)[below] + rest * np.log1p(-min(loss + gain, 1 - 1e-12)) - facts[rest]
    return 1.0 - float(np.exp(logs + facts[n]).sum())


def _fewest(count: int, n: int, bar: float, order: float) -> Ints:
    """For 0 up to `count` losses (exclusive) the fewest gains with which the score is at most `bar`."""
    losses = np.arange(float(count))
    low, high = np.full(count, -1), np.full(count, n + 1)
    while np.any(high - low > 1):
        middle = np.maximum(0, (low + high) // 2)
        enough = score(losses, middle.astype(np.float64), n, order) <= bar
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def _window(n: int, chance: float) -> Ints:
    middle, spread = n * chance, REACH * np.sqrt(n * chance * (1 - chance))
    return np.arange(max(0, int(middle - spread)), min(n, int(middle + spread) + 20 * (chance > 0)) + 1)


@lru_cache(maxsize=8)
def log_factorials(n: int) -> Floats:
    """Of 0 up to n."""
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))


def binomial(count: int, n: int, chance: float) -> float:
    """P(X <= count) where X is how many of n rows are what each is with `chance`."""
    if count >= n or chance <= 0.0:
        return 1.0
    if chance >= 1.0:
        return 0.0
    facts, k = log_factorials(n), np.arange(count + 1)
    logs = facts[n] - facts[k] - facts[n - k] + k * np.log(chance) + (n - k) * np.log1p(-chance)
    return min(1.0, float(np.exp(logs).sum()))


def highest(count: int, n: int, error: float) -> float:
    """The upper Clopper-Pearson bound of a share of which `count` of n were seen: too low with a chance of `error` at most."""
    low, high = count / n, 1.0
    while high - low > 1e-4 * low + 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if binomial(count, n, middle) > error else (low, middle)
    return high


def lowest(count: int, n: int, error: float) -> float:
    """The lower bound, as `highest`."""
    return 1.0 - highest(n - count, n, error)
