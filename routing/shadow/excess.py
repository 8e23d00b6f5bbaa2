"""Whether a candidate differs from the primary by more than the primary differs from itself: a test that may be looked at always.

Of one question there are three answers: the primary's P, a second one of the primary P', and the candidate's C. If the candidate
is no other than the primary, C and P' are exchangeable given the question and P, so that of the pairs in which one of them is
further from P than the other it is C in exactly half, whatever the questions are, however noisy the primary is, and however that
changes from one question to the next. That coin is bet on: a gain of 1 + d for each pair in which C is further (`worse`), 1 - d
for each in which P' is (`better`). For every d the product is a nonnegative martingale under "no difference", and so is their
mixture over a fixed prior (Ville 1939; Shafer 2021, "Testing by betting"; Ramdas et al. 2023, "Game-theoretic statistics"):
P(it ever reaches 1/alpha) <= alpha, at any peeking schedule. The wealth is a function of two counts, so the counts of several
processes may be added: their product is a martingale of all their questions in the order in which they came.

How large the difference is, confidence sequences say: Robbins 1970, by the mixture with Beta(1/2, 1/2), valid at all times too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

# Half on "only ever the candidate", for fields on which the primary is clean: 14 pairs in a row suffice for 1/10 000, where the
# least that could is 13.3. The rest on smaller effects down to 2 in 100 pairs, each a half more than the next.
_EDGES = (0.9, 0.6, 0.4, 0.27, 0.18, 0.12, 0.08, 0.053, 0.035, 0.02)
_PRIOR = ((1.0, 0.5), *((edge, 0.5 / len(_EDGES)) for edge in _EDGES))


class Interval(msgspec.Struct, frozen=True):
    """A value between two bounds."""

    value: float
    low: float
    high: float


def log_wealth(worse: int, better: int) -> float:
    """The logarithm of what a stake of 1 has become."""
    terms = [math.log(weight) + worse * math.log1p(edge) + _lost(edge, better) for edge, weight in _PRIOR]
    most = max(terms)
    return most + math.log(sum(math.exp(term - most) for term in terms))


def proven(worse: int, better: int, alpha: float) -> bool:
    """Whether the candidate differs by more than noise; wrongly so with a probability of at most alpha, whenever one looks."""
    return log_wealth(worse, better) >= -math.log(alpha)


def share(count: float, of: int, alpha: float) -> Interval:
    """A share with bounds that hold at all times together with probability 1 - alpha. `count` may add up parts of one each."""
    if not of:
        return Interval(0.0, 0.0, 1.0)
    log_beta = math.lgamma(count + 0.5) + math.lgamma(of - count + 0.5) - math.lgamma(of + 1) - math.log(math.pi)
    bar = log_beta + math.log(alpha)

    def outside(at: float) -> bool:
        return _log(at, count) + _log(1 - at, of - count) < bar

    value = count / of
    return Interval(value, _edge(0.0, value, outside), _edge(1.0, value, outside))


def excess(worse: int, better: int, pairs: int, alpha: float) -> Interval:
    """In how many more of the pairs the candidate is further away than the primary's second answer, as a share of all."""
    if not pairs:
        return Interval(0.0, -1.0, 1.0)
    apart = share(worse + better, pairs, alpha / 2)
    lean = share(worse, worse + better, alpha / 2)
    ends = [(2 * side - 1) * of for side in (lean.low, lean.high) for of in (apart.low, apart.high)]
    return Interval((worse - better) / pairs, min(ends), max(ends))


def pairs_until_same(worse: int, better: int, pairs: int, margin: float, alpha: float) -> int:
    """How many pairs more until the excess is known to be below the margin, if they go on as they did; 0: it is already."""
    return _grown(worse, better, pairs, lambda a, b, n: excess(a, b, n, alpha).high <= margin)


def pairs_until_proven(worse: int, better: int, pairs: int, alpha: float) -> int:
    """How many pairs more until the difference is proven, if they go on as they did; 0: it is already."""
    return _grown(worse, better, pairs, lambda a, b, n: proven(a, b, alpha))


FAR = 1 << 30  # pairs: not to be waited for


def _grown(worse: int, better: int, pairs: int, holds: Callable[[int, int, int], bool]) -> int:
    """About the least number of pairs more with which it holds; FAR if none is found."""
    if pairs and holds(worse, better, pairs):
        return 0
    known = max(pairs, 1)

    def enough(total: int) -> bool:
        return holds(round(worse * total / known), round(better * total / known), total)

    short = total = max(known, 8)
    while not enough(total):
        short, total = total, 2 * total
        if total >= FAR:
            return FAR
    while total - short > max(1, total // 64):
        middle = (short + total) // 2
        short, total = (short, middle) if enough(middle) else (middle, total)
    return max(1, total - pairs)


def _edge(far: float, near: float, outside: Callable[[float], bool]) -> float:
    """Where the interval ends between a point that may be outside and one that is not."""
    if not outside(far):
        return far
    for _ in range(32):
        middle = (far + near) / 2
        far, near = (middle, near) if outside(middle) else (far, middle)
    return far


def _log(share: float, count: float) -> float:
    if not count:
        return 0.0
    return count * math.log(share) if share > 0 else -math.inf


def _lost(edge: float, better: int) -> float:
    if not better:
        return 0.0
    return better * math.log1p(-edge) if edge < 1 else -math.inf
