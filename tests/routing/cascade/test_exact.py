"""The exact test of gains and losses."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import product
from math import ceil, comb, sqrt

import numpy as np
import pytest

from routing.cascade.exact import BETA, Pairs, binomial, highest, lower_bound, lowest, p_value, score

ROWS, QUALITY, DELTA = 100, 0.9, 0.05
LOOKED_AT = tuple(product(range(32), range(12)))  # losses and gains; what is not looked at counts as passed
Fewest = Callable[[int, int], int]  # of so many losses and gains: on how many rows the dearest must be right for them to pass


def exact_test(losses: int, gains: int) -> int:
    """More rows on which the dearest is right allow more losses, so the fewest is found by halving."""

    def passes(dear: int) -> bool:
        return p_value(Pairs(ROWS, dear, losses, gains), QUALITY, 0.9) <= DELTA

    most = ROWS - gains
    return bisect_left(range(most), True, losses, key=passes) if passes(most) else most + 1


def usual_test(losses: int, gains: int) -> int:
    """The same with a normal approximation of the excess of losses."""
    return ceil((losses - gains + 1.6449 * sqrt(losses + gains)) / (1 - QUALITY))


def broken() -> Iterator[tuple[float, float, float]]:
    """Chances that the dearest is right, of a loss and of a gain, which break the promise by nothing: the worst."""
    for dear, gain in product((0.5, 0.7, 0.9, 0.97), (0.0, 0.003, 0.01, 0.02)):
        yield dear, gain + (1 - QUALITY) * dear, gain


def passed(fewest: dict[tuple[int, int], int], dear: float, loss: float, gain: float) -> float:
    """The chance that what is seen passes: of losses, gains, and then of rows on which both are right."""
    total = seen = 0.0
    for (losses, gains), least in fewest.items():
        rest = ROWS - losses - gains
        ways = comb(ROWS, losses) * comb(ROWS - losses, gains)
        chance = ways * loss**losses * gain**gains * (1 - loss - gain) ** rest
        both = (dear - loss) / (1 - loss - gain)
        total += chance * (1 - binomial(least - losses - 1, rest, both) if least > losses else 1.0)
        seen += chance
    return total + 1 - seen


def test_its_level_is_exact() -> None:
    """Summed over all that could be seen, no broken promise passes with more than delta; the usual test breaks that."""
    found = {}
    for name, fewest in (("exact", exact_test), ("usual", usual_test)):
        table = {each: fewest(*each) for each in LOOKED_AT}
        found[name] = max(passed(table, *chances) for chances in broken())
    assert DELTA >= found["exact"] > 0.3 * DELTA  # which shows that it can fail
    assert found["usual"] > 2 * DELTA


def test_where_the_dearest_is_the_truth_it_is_the_binomial_test() -> None:
    """473 rows may have one loss, 472 may not (Clopper and Pearson 1934)."""
    assert [True, False] == [p_value(Pairs(n, n, 1, 0, truth=True), 0.99) <= 0.05 for n in (473, 472)]


def test_losses_speak_against_it_and_gains_for_it() -> None:
    """The p-value rises with losses and falls with gains."""
    by_losses = [p_value(Pairs(2000, 1700, losses, 10), 0.99, 0.85) for losses in range(0, 21, 4)]
    by_gains = [p_value(Pairs(2000, 1700, 15, gains), 0.99, 0.85) for gains in range(0, 21, 4)]
    assert sorted(by_losses) == by_losses
    assert sorted(by_gains, reverse=True) == by_gains


@pytest.mark.parametrize("n", [60, 667])
def test_the_statistic_rises_with_losses_and_falls_with_gains(n: int) -> None:
    """Without that the worst broken promise would not be the one that is summed."""
    counts = np.arange(min(n, 200) + 1.0)
    possible = np.add.outer(counts, counts) <= n
    for margin in (0.001, 0.01, 0.1, 0.4):
        statistic = score(counts[:, None], counts, n, margin)
        assert np.all(np.diff(statistic, axis=0)[possible[1:]] > 0)
        assert np.all(np.diff(statistic, axis=1)[possible[:, 1:]] < 0)


def test_no_value_of_the_nuisance_is_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid forty times as fine finds no p-value that is larger by more than 0.001."""
    some = [Pairs(100, 97, 0, 2), Pairs(300, 250, 0, 1), Pairs(667, 600, 1, 0), Pairs(667, 500, 6, 9), Pairs(3333, 2900, 40, 30)]
    coarse = [p_value(pairs, 0.99, 0.9) for pairs in some]
    monkeypatch.setattr("routing.cascade.exact.STEPS", 360)
    assert all(p_value(pairs, 0.99, 0.9) <= each + 0.001 for pairs, each in zip(some, coarse, strict=True))


def test_more_gains_than_losses_could_be_are_certain() -> None:
    """Where most rows are gains, as many losses have no room, and what is left is the chance that the region is wrong."""
    assert BETA == p_value(Pairs(1000, 200, 1, 700), 0.99, 0.2)


def test_a_bound_keeps_what_it_says() -> None:
    """At the lower bound the test stands at delta: a little less is certified, a little more is not."""
    pairs = Pairs(3333, 2900, 20, 10)
    bound = lower_bound(pairs, 0.05, 0.87)
    assert p_value(pairs, bound, 0.87) <= 0.05 < p_value(pairs, 1 - 0.97 * (1 - bound), 0.87)
    assert pairs.quality > bound > 0.99
    assert 0.0 == lower_bound(Pairs(30, 0, 0, 0), 0.05)


def test_shares_have_the_bounds_of_clopper_and_pearson() -> None:
    """As scipy has them, by the beta distribution, and rounded to the safe side; of none and of all they are 0 and 1."""
    from scipy import stats  # here, as it takes a second: every worker imports this file, one asks

    for count, n in ((1, 50), (3, 50), (47, 50), (2900, 3333), (12, 40_000)):
        top, bottom = stats.beta.isf(0.01, count + 1, n - count), stats.beta.ppf(0.01, count, n - count + 1)
        assert top * (1 - 1e-9) <= highest(count, n, 0.01) <= top * 1.0002
        assert bottom - 0.0002 <= lowest(count, n, 0.01) <= bottom * (1 + 1e-9)
        assert stats.binom.cdf(count, n, 0.01) == pytest.approx(binomial(count, n, 0.01), rel=1e-9)
    assert (0.0, 1.0, 1.0) == (lowest(0, 50, 0.01), highest(50, 50, 0.01), binomial(5, 5, 0.3))
