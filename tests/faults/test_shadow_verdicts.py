"""What a shadow's verdict is worth: identical candidates, small differences and noisy models, looked at after every request."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from routing.shadow.excess import proven
from tests.faults.figures import LONG, Figures

RUNS = 1000 if LONG else 100
FIELDS, ALPHA = 50, 0.01
Drawn = npt.NDArray[np.bool_]


def thresholds(most: int) -> npt.NDArray[np.int64]:
    """By pairs that speak for the candidate: the fewest against it that prove a difference. The wealth grows with them."""
    found, worse = np.zeros(most + 1, np.int64), 0
    for better in range(most + 1):
        while not proven(worse, better, ALPHA / FIELDS):
            worse += 1
        found[better] = worse
    return found


NEEDED = thresholds(1500)


def found_at(worse: Drawn, better: Drawn) -> int | None:
    """The first request at which a field is flagged, looked at after each one. Arrays of requests × fields."""
    seen = np.cumsum(worse, axis=0) >= NEEDED[np.cumsum(better, axis=0)]
    at = np.flatnonzero(seen.any(axis=1))
    return int(at[0]) + 1 if at.size else None


def naively_at(candidate: Drawn, noise: Drawn) -> int | None:
    """As Diffy does (Twitter 2015): a field's raw differences are over 20 % more than noise, and .03 % of all requests."""
    seen = np.arange(1, len(candidate) + 1)[:, None]
    raw, own = np.cumsum(candidate, axis=0) / seen, np.cumsum(noise, axis=0) / seen
    flagged = (raw - own > 0.2 * (raw + own)) & (raw - own > 0.0003)
    at = np.flatnonzero(flagged.any(axis=1))
    return int(at[0]) + 1 if at.size else None


def test_an_identical_candidate(figures: Figures) -> None:
    """Fifty fields from clean to half noisy, noise that comes and goes with the questions: flagged in at most 1 % of runs."""
    chance, ours, naive, requests = np.random.default_rng(8), 0, 0, 2000
    for _ in range(RUNS):
        hard = chance.random((requests, 1)) < 0.3
        rate = np.where(hard, 2.0, 0.5) * np.linspace(0, 0.45, FIELDS)[None, :]
        candidate, noise = (chance.random((requests, FIELDS)) < rate for _ in range(2))
        ours += found_at(candidate & ~noise, noise & ~candidate) is not None
        naive += naively_at(candidate, noise) is not None
    figures.at_most("Shadow", f"identical candidate flagged, of {RUNS} runs with 50 fields", ours, 0.017 * RUNS)
    figures.at_least("Shadow", "the same by the best-known differ, which must fail", naive, 0.6 * RUNS)


def test_one_in_a_hundred_on_a_clean_field(figures: Figures) -> None:
    """Found within 2 000 mirrored requests."""
    chance = np.random.default_rng(9)
    worse = chance.random((2000, 10 * RUNS)) < 0.01
    nothing = np.zeros_like(worse)
    at = [found_at(worse[:, [run]], nothing[:, [run]]) for run in range(10 * RUNS)]
    found = [each for each in at if each is not None]
    figures.at_least("Shadow", "+1 % on a clean field: found within 2 000 requests", 100 * len(found) / len(at), 90, " %")
    figures.at_most("Shadow", "and on average after", float(np.mean(found)), 2000, " requests")


def test_one_in_twenty_on_a_noisy_field(figures: Figures) -> None:
    """The primary differs from itself in 20 %, the candidate in 25 %: found within 6 000 mirrored requests."""
    chance, at = np.random.default_rng(10), list[int | None]()
    for _ in range(3 * RUNS):
        candidate, noise = chance.random((6000, 1)) < 0.25, chance.random((6000, 1)) < 0.20
        at.append(found_at(candidate & ~noise, noise & ~candidate))
    found = [each for each in at if each is not None]
    figures.at_least("Shadow", "+5 % on a 20 % noisy field: found within 6 000", 100 * len(found) / len(at), 90, " %")
    figures.at_most("Shadow", "and on average after", float(np.mean(found)), 6000, " requests")
