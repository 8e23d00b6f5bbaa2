"""Evidence that a cascade keeps its promise which may be read after every new label: a fortune won by betting on rows.

Let a row be worth right(cascade) - rho * right(dearest): 1 - rho where both are right, 1 for a gain, -rho for a loss, else 0. If
the promise is broken its mean is below 0, so who lays out a share s of a fortune on each row (it becomes 1 + s/rho * worth
times as large, never negative) has no more than was begun with, on average, at any time. The chance that the fortune ever
reaches 1/delta is at most delta (Ville 1939; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting"). Half of it lies on the share that was best on rows seen before, the rest is spread over all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routing.cascade.exact import Pairs

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHARES = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.87, 0.95])


def fortunes(kept: Bools, dear: Bools, quality: float, before: Pairs) -> Floats:
    """The logarithm of the fortune after each of n rows on which the cascade (`kept`) and the dearest were right, or not.

    `before` is what other rows showed, on which the share to lay out is chosen.
    """
    seen = np.cumsum(np.stack((kept & dear, kept & ~dear, dear & ~kept), axis=1), axis=0)
    return _logarithms(seen.astype(np.float64), quality, before)


def fortune(pairs: Pairs, quality: float, before: Pairs) -> float:
    """The logarithm of the fortune after all of these rows."""
    seen = np.array([[pairs.dear - pairs.losses, pairs.gains, pairs.losses]], dtype=np.float64)
    return float(_logarithms(seen, quality, before)[0])


def _logarithms(seen: Floats, quality: float, before: Pairs) -> Floats:
    growth = np.log(np.stack((1 + SHARES * (1 - quality) / quality, 1 + SHARES / quality, 1 - SHARES)))
    past = np.array([before.dear - before.losses, before.gains, before.losses + 0.5])
    money = np.full(len(SHARES), 0.5 / len(SHARES))
    money[np.argmax(past @ growth)] += 0.5
    logs = seen @ growth + np.log(money)
    most = logs.max(axis=1)
    return np.asarray(most + np.log(np.exp(logs - most[:, None]).sum(axis=1)))
