"""Bets on rows, which may be read at any time."""

from __future__ import annotations

from itertools import product
from math import log

import numpy as np
import pytest

from routing.cascade.anytime import fortune, fortunes
from routing.cascade.exact import Pairs

BEFORE = Pairs(300, 270, 1, 1)


@pytest.mark.parametrize(("dear", "gain"), [(0.9, 0.0), (0.7, 0.05), (1.0, 0.0)])
def test_a_broken_promise_wins_nothing(dear: float, gain: float) -> None:
    """Over all that four rows could show the mean fortune is 1 where the promise is broken by nothing, and below that beyond."""
    means = []
    for beyond in (0.0, 0.02):
        loss = gain + (1 - 0.9) * dear + beyond
        chances = {(True, True): dear - loss, (True, False): gain, (False, True): loss, (False, False): 1 - dear - gain}
        total = 0.0
        for rows in product(chances, repeat=4):
            kept, right = np.array(rows).T
            total += np.exp(fortunes(kept, right, 0.9, BEFORE)[-1]) * np.prod([chances[row] for row in rows])
        means.append(total)
    assert 1.0 == pytest.approx(means[0])
    assert means[1] < 1.0


def test_read_after_every_row_it_is_rarely_fooled() -> None:
    """Of 400 cascades that just break the promise at most 5 % ever reach 1/delta in 2,000 rows; of good ones nearly all do."""
    rng = np.random.default_rng(2)
    reached = {}
    for loss in (0.009, 0.001):
        drawn = rng.random((400, 2000))
        kept, dear = drawn < 0.9 - loss, drawn < 0.9
        reached[loss] = np.mean([fortunes(k, d, 0.99, BEFORE).max() >= log(20) for k, d in zip(kept, dear, strict=True)])
    assert reached[0.009] <= 0.05
    assert reached[0.001] > 0.95


def test_the_whole_is_the_last() -> None:
    """From counts alone it is the fortune after all rows, in whatever order they came."""
    rng = np.random.default_rng(3)
    kept, dear = rng.random((2, 500)) < 0.9
    pairs = Pairs(500, int(dear.sum()), int((dear & ~kept).sum()), int((kept & ~dear).sum()))
    assert fortunes(kept, dear, 0.95, BEFORE)[-1] == pytest.approx(fortune(pairs, 0.95, BEFORE))
