# ruff: noqa: T201 - a program: it prints
"""The bars of rollouts, each with its figure, as a table: `python -m tests.routing.simulations --runs 1000`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain

import numpy as np

from routing.rollout.betting import Metric
from tests.routing.simulations import cost, harm, quiet, shares
from tests.routing.simulations.fortunes import Floats


def false_rollbacks(runs: int, requests: int) -> Iterator[str]:
    """How often a candidate that changes nothing is taken back."""
    yield f"| changes nothing ({requests:,} requests a run) | bar | bets | bets on every request | peeking at a test |"
    yield "|---|---|---|---|---|"
    for number, (name, weather) in enumerate(quiet.WEATHERS.items()):
        found = quiet.false_rollbacks(weather, runs, requests, number)
        rest = " | ".join(f"{found[method]:.1%}" for method in ("bets", "every request", "peeking"))
        yield f"| {name} | ≤ 1 % (1.7 % of 1,000) | {rest} |"


def delays(runs: int) -> Iterator[str]:
    """How soon a worse one is."""
    yield "| worse | bar | candidate's requests, mean | bound | times the bound |"
    yield "|---|---|---|---|---|"
    for ratio in (4.0, 2.0):
        taken, bound = harm.errors(ratio, runs, 1), harm.errors_bound(ratio)
        yield f"| errors × {ratio:.0f} | ≤ 2.0 | {_row(taken, bound)}"
    for name, slow in harm.SLOWDOWNS.items():
        bar = "≤ 2.5" if "tail" in name else "≤ 2.0"
        yield f"| {name} | {bar} | {_row(harm.latency(slow, runs, 1), harm.latency_bound(slow))}"
    late = harm.errors(4.0, runs, 1, quiet=200_000)
    yield f"| errors × 4 after 200,000 good requests | | {_row(late, harm.errors_bound(4.0))}"


def tolerances(runs: int) -> Iterator[str]:
    """How often what is tolerated, or twice and four times that, is taken back; α for each metric alone."""
    yield "| tolerated, of 0.5 % errors | at the border | at twice | at four times |"
    yield "|---|---|---|---|"
    for name, metric, border in (("1.5 times", Metric("e", ratio=1.5), 0.0075), ("0.5 % more", Metric("e", points=0.005), 0.01)):
        found = (harm.taken_back(metric, worse * border, runs, 11) for worse in (1, 2, 4))
        yield f"| {name}, 100,000 requests | {' | '.join(f'{each:.1%}' for each in found)} |"


def mismatches(runs: int) -> Iterator[str]:
    """How often and how soon wrong shares are noticed."""
    yield "| shares | bar | figure |"
    yield "|---|---|---|"
    for weight in (0.05, 0.5):
        fooled = np.isfinite(shares.noticed(weight, weight, 10 * runs, 20_000, 2)).mean()
        usual = shares.chi_squared(weight, runs, 20_000, 3)
        yield f"| right, {weight:.0%}, false alarms | ≤ 0.1 % | {fooled:.2%} (peeking at the usual test: {usual:.1%}) |"
    for name, (weight, share) in shares.WRONG.items():
        bound = shares.bound(weight, share)
        found = shares.noticed(weight, share, runs, int(bound * 8), 4)
        yield f"| {name}, draws until noticed | ≤ 1.3 × {bound:,.0f} | {found.mean() / bound:.2f} × |"


def costs() -> Iterator[str]:
    """What it takes of a request's time."""
    yield "| on the way of a request, four metrics | bar | CPU |"
    yield "|---|---|---|"
    for unit in ("request", "tenant"):
        yield f"| unit: {unit} | ≤ 5 µs | {cost.microseconds(unit == 'tenant'):.1f} µs |"


def _row(taken: Floats, bound: float) -> str:
    error = taken.std() / np.sqrt(len(taken)) / bound
    return f"{taken.mean():,.0f} | {bound:,.0f} | {taken.mean() / bound:.2f} ± {error:.2f} |"


SETTINGS = """# What the verdicts of rollouts are worth, simulated

`python -m tests.routing.simulations`, {runs:,} runs each, seeded. α = 1 %; weight 5 % unless said; four metrics in a rollout.
Stable errors 0.5 %; the logarithm of the latency is normal with a standard deviation of 0.6, and 5,000 answers of the stable
side are known when it starts. Bounds: log(1/α) over the information of one of the candidate's requests with the stable side's
that come with it; of errors that of an event's label, of latency that of the whole latency's. The tail's bound of 397 comes out
with three settings, as the issue does not say with which. ± is one standard error.
"""


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=20_000)
    asked = parser.parse_args()
    print(SETTINGS.format(runs=asked.runs))
    tables = (
        false_rollbacks(asked.runs, asked.requests),
        delays(asked.runs),
        tolerances(asked.runs),
        mismatches(asked.runs),
        costs(),
    )
    for line in chain.from_iterable(chain(table, ("",)) for table in tables):
        print(line, flush=True)


if __name__ == "__main__":
    main()
