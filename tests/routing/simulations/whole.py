"""One rollout from its start to its end, by the real parts: places, counts, points that are learnt on the way, ticks."""

from __future__ import annotations

import random
from dataclasses import dataclass

from routing.rollout.betting import Metric
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.rollout import Rollout, Step, Terms, command, memory, observe, tick, warmed
from routing.rollout.tally import Tally
from routing.rollout.units import Excluded, placing

METRICS = (Metric("error-rate"), Metric("latency", "latency"))
STEPS = (Step(0.05, 30, 20), Step(0.25, 30, 20), Step(1.0))
EVERY = 50  # requests between two ticks, which are a second apart


@dataclass(frozen=True)
class Candidate:
    """How much more often it fails, and how much longer it takes."""

    errors: float = 1.0
    latency: float = 1.0


@dataclass(frozen=True)
class End:
    """How it went: the last state, and how many requests there were and were the candidate's."""

    rollout: Rollout
    requests: int
    candidates: int


def run(candidate: Candidate, clients: int, requests: int, seed: int) -> End:
    """At most so many requests. `clients`: as many sticky units, which ask unevenly and fail unevenly; 0: each request is one."""
    rng = random.Random(seed)
    terms = Terms(STEPS, METRICS, proof="time", sticky=clients > 0)
    rollout = warmed(command(Rollout("m", "s", "c", terms, attempt=seed), "start", "ann", 0.0), 1.0)
    place = placing(rollout.id, Excluded())
    tally, seen, points = Tally(METRICS, terms.sticky), memory(rollout), LatencyPoints()
    asked = 0
    for number in range(requests):
        client = int(rng.paretovariate(0.7)) % clients if clients else number
        at, weight = place(f"{client}"), rollout.weight
        assert at is not None
        mine = at < weight
        asked += mine
        tally.drew(at, weight)
        failed = rng.random() < min(0.02 * (1 + client % 7 if clients else 1) * (candidate.errors if mine else 1), 0.9)
        seconds = rng.lognormvariate(-3, 0.6) * (candidate.latency if mine else 1)
        tally.saw(at, weight, (int(failed), points.cell(seconds)))
        if not mine:
            points.add(seconds)
        if number % EVERY == EVERY - 1:
            points.renew()
            rollout = tick(observe(rollout, tally.take(), seen), number / EVERY)
            if rollout.state in ("promoted", "rolled-back"):
                return End(rollout, number + 1, asked)
    return End(rollout, requests, asked)
