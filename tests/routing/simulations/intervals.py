# ruff: noqa: T201 - a program: it prints
"""A/B tests looked at all the time: how often their interval is ever wrong, beside a t-interval for one look.

`python -m tests.routing.simulations.intervals --runs 1000` prints the table of loadtest/results/experiments.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np

from routing.rollout.experiment import LEAST
from tests.routing.simulations.fortunes import Floats

EVERY = 10  # units between two looks
CALM = 100  # units of a side before the naive interval is looked at: it is no better for it
Bits = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Draw = Callable[[np.random.Generator, tuple[int, int]], tuple[Floats, Floats]]


@dataclass(frozen=True)
class World:
    """What the stable side's and the candidate's units tell, from 0 to 1; `effect` is the true difference of the means."""

    draw: Draw
    effect: float
    weight: float = 0.5
    narrowest: float = 2_000  # units after which the interval is the narrowest


@dataclass(frozen=True)
class Found:
    """Shares of the runs: whose interval ever left the truth out, the naive one's, and those that ever showed a difference."""

    wrong: float
    naive: float
    shown: float


def rates(stable: float, candidate: float, weight: float = 0.5) -> World:
    """Something that happens or does not."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        return (rng.random(shape) < stable).astype(float), (rng.random(shape) < candidate).astype(float)

    return World(draw, candidate - stable, weight)


def stars(better: float) -> World:
    """Ratings that lie all over their range: Beta(2, 5), and the candidate's Beta(2 + better, 5)."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        return rng.beta(2, 5, shape), rng.beta(2 + better, 5, shape)

    return World(draw, (2 + better) / (7 + better) - 2 / 7)


def money(buyers: float, weight: float = 0.5) -> World:
    """Nineteen in twenty spend nothing, the others' money is as unequal as money is (lognormal), bounded at 100; `buyers` times
    as many buy of the candidate."""
    mean = float(np.minimum(np.random.default_rng(0).lognormal(3, 1, 1_000_000), 100).mean() / 100)

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        sides = [np.where(rng.random(shape) < share, np.minimum(rng.lognormal(3, 1, shape), 100) / 100, 0) for share in shares]
        return sides[0], sides[1]

    shares = 0.05, 0.05 * buyers
    return World(draw, (shares[1] - shares[0]) * mean, weight)


WORLDS = {
    "1 %, no effect": rates(0.01, 0.01),
    "50 %, no effect": rates(0.5, 0.5),
    "99 % → 99.5 %": rates(0.99, 0.995),
    "1 % → 2 %, a tenth to the candidate": rates(0.01, 0.02, 0.1),
    "10 % → 13 %": rates(0.1, 0.13),
    "ratings, no effect": stars(0.0),
    "ratings, 7 % more": stars(0.2),
    "money, no effect": money(1.0),
    "money, half as many again, a fifth to the candidate": money(1.5, 0.2),
}


def half_widths(
    number: tuple[Floats, Floats], total: tuple[Floats, Floats], squares: tuple[Floats, Floats], alpha: float, narrowest: float
) -> Floats:
    """As routing.rollout.experiment.difference has it (a test compares), of many at once; infinite where it says nothing."""
    units = number[0] + number[1]
    mean, least = (total[0] + total[1]) / units, np.minimum(*number)
    spread = np.zeros_like(units)
    for n, s, q in zip(number, total, squares, strict=True):
        spread += ((q + 1) / (n + 2) - ((s + 1) / (n + 2)) ** 2) * units / np.maximum(n, 1)
    tuned = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / (narrowest * spread)
    grown = units * spread * tuned + 1
    wide = np.sqrt(2 * grown / (units**2 * tuned) * np.log(np.sqrt(grown) / alpha))
    enough = (least > 0) & (least * ((squares[0] + squares[1]) / units - mean**2) >= LEAST)
    return np.where(enough, wide, np.inf)


def looked_at(world: World, runs: int, units: int, seed: int, alpha: float = 0.05) -> Found:
    """Every EVERY units of so many, in so many runs."""
    rng, counts, done = np.random.default_rng(seed), np.zeros(3), 0
    while done < runs:
        part = min(100, runs - done)
        candidate = rng.random((part, units)) < world.weight
        stable, mine = world.draw(rng, (part, units))
        counts += _part(candidate, np.where(candidate, mine, stable), world, alpha)
        done += part
    return Found(*(counts / runs))


def sticky(runs: int, requests: int, seed: int, alpha: float = 0.05) -> Found:
    """A few heavy users that differ from each other, no effect: units by their first value, beside all their requests."""
    rng, wrong, naive, same = np.random.default_rng(seed), 0, 0, rates(0.2, 0.2)
    for _ in range(runs):
        user = (rng.pareto(0.7, requests) * 3).astype(int) % 2_000
        rate, candidate = rng.beta(0.5, 2, 2_000), rng.random(2_000) < 0.5
        values = (rng.random(requests) < rate[user]).astype(float)
        first = np.sort(np.unique(user, return_index=True)[1])
        wrong += int(_part(candidate[user[first]][None], values[first][None], same, alpha)[0])
        naive += int(_part(candidate[user][None], values[None], same, alpha)[1])
    return Found(wrong / runs, naive / runs, wrong / runs)


def _part(candidate: Bits, values: Floats, world: World, alpha: float) -> Floats:
    """In how many of these runs the interval, and the naive one, are ever wrong, and the first ever shows a difference."""
    stops = np.arange(EVERY - 1, values.shape[1], EVERY)

    def summed(what: Floats) -> tuple[Floats, Floats]:
        return np.cumsum(what * ~candidate, axis=1)[:, stops], np.cumsum(what * candidate, axis=1)[:, stops]

    number, total, squares = summed(np.ones_like(values)), summed(values), summed(values**2)
    least = [np.maximum(each, 1) for each in number]
    estimate = total[1] / least[1] - total[0] / least[0]
    wide = half_widths(number, total, squares, alpha, world.narrowest)
    error = np.sqrt(sum(np.maximum(q / n - (s / n) ** 2, 0) / n for n, s, q in zip(least, total, squares, strict=True)))
    looked = (np.minimum(*number) >= CALM) & (error > 0)
    wrong = (
        np.abs(estimate - world.effect) > wide,
        looked & (np.abs(estimate - world.effect) > 1.96 * error),
        np.abs(estimate) > wide,
    )
    return np.array([each.any(axis=1).sum() for each in wrong], float)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--units", type=int, default=20_000)
    asked = parser.parse_args()
    print(f"α = 5 %, {asked.runs:,} runs of {asked.units:,} units, looked at every {EVERY}; seeded.\n")
    print("| | ever wrong (bar: ≤ 5 %) | a t-interval, ever wrong | a difference is ever shown |\n|---|---|---|---|")
    for seed, (name, world) in enumerate(WORLDS.items()):
        found = looked_at(world, asked.runs, asked.units, seed)
        print(f"| {name} | {found.wrong:.1%} | {found.naive:.1%} | {found.shown:.1%} |", flush=True)
    found = sticky(asked.runs, asked.units, 99)
    print(f"| heavy users, no effect (requests instead of units) | {found.wrong:.1%} | {found.naive:.1%} | {found.shown:.1%} |")


if __name__ == "__main__":
    main()
