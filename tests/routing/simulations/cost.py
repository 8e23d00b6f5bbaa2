"""What a rollout costs on the way of a request: its place, its draw, its cell, its count."""

from __future__ import annotations

from time import process_time

import numpy as np

from routing.rollout.betting import Metric
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.tally import Tally
from routing.rollout.units import Excluded, placing

METRICS = (Metric("error-rate"), Metric("timeout-rate"), Metric("disagreement"), Metric("latency", "latency"))
REQUESTS = 20_000


def microseconds(sticky: bool, rounds: int = 9) -> float:
    """Of this core's time for one request, four metrics and the stable side's points included: the median of the rounds."""
    found = []
    units = [f"tenant-{index % 500}" if sticky else f"{index:032x}" for index in range(REQUESTS)]
    seconds = np.random.default_rng(1).lognormal(-3, 0.6, REQUESTS).tolist()
    place, points, tally = placing("m/s/c/1", Excluded()), LatencyPoints(), Tally(METRICS, sticky)
    for _ in range(rounds):
        start = process_time()
        for unit, took in zip(units, seconds, strict=True):
            at = place(unit)
            assert at is not None
            tally.drew(at, 0.05)
            tally.saw(at, 0.05, (0, 0, 0, points.cell(took)))
            if at >= 0.05:
                points.add(took)
        found.append((process_time() - start) / REQUESTS * 1e6)
        points.renew()
        tally.take()
    return sorted(found)[rounds // 2]
