"""Shows by simulation what looking early does to a test that may be looked at once: how often it sees what is not there."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

RUNS = 20_000
AT_ONCE = 2_000_000  # normal numbers, 16 MB


def false_alarms(looks: int, alpha: float, random: np.random.Generator, runs: int = RUNS) -> float:
    """The share of experiments in which nothing differs and a two-sided test at `alpha` says so at one of its `looks` at least.

    `looks` are at equal distances, the last at the end; what is compared is a mean of many, so that it moves as a sum of normals.
    """
    bound = NormalDist().inv_cdf(1 - alpha / 2)
    found, done = 0, 0
    scale = np.sqrt(np.arange(1, looks + 1))
    while done < runs:
        now = min(runs - done, max(AT_ONCE // looks, 1))
        walked = np.cumsum(random.standard_normal((now, looks)), axis=1) / scale
        found += int((np.abs(walked) > bound).any(axis=1).sum())
        done += now
    return found / runs
