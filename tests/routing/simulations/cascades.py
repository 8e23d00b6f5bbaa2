# ruff: noqa: T201 - a program: it prints
"""What is promised of certified cascades on real services, beside what people do instead.

`python -m tests.routing.simulations.cascades` writes loadtest/results/cascades.md. Rows are drawn from a set with replacement;
what comes of them is judged on the whole set.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, takewhile
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np

from routing.cascade.calibration import Calibration, fit
from routing.cascade.certify import Floats, Labelled, Point, Promise, calibrate
from routing.cascade.cuts import Answers, outcomes
from tests.routing.simulations.services import Group, agreeing, groups, population, some

PROMISE = Promise(0.99, 0.05)
RESULTS = Path("loadtest/results/cascades.md")


class Kept(NamedTuple):
    """What a choice is worth on the whole set; or the means of many."""

    cost: float  # relative to the dearest alone
    broken: float  # whether it keeps less than was promised
    chosen: float  # whether there is a cascade at all


NOTHING = Kept(1.0, 0.0, 0.0)
Method = Callable[[Labelled, Labelled, int], Kept]  # the whole set, rows drawn from it, a seed


def certified(whole: Labelled, drawn: Labelled, seed: int) -> Kept:
    """`penstock calibrate`."""
    found = calibrate(drawn, PROMISE, seed)
    return judged(whole, found.calibrations, found.chosen)


def anytime(whole: Labelled, drawn: Labelled, seed: int) -> Kept:
    """The bets that may be read after every label, read after every label: the cheapest that is ever certified."""
    found = calibrate(drawn, PROMISE, seed, first=len(drawn.right) // 3)
    return judged(whole, found.calibrations, found.chosen)


def normal(whole: Labelled, drawn: Labelled, seed: int) -> Kept:
    """The same path with the usual test: losses less gains, and a normal approximation of their standard error."""
    found = calibrate(drawn, PROMISE, seed)
    passed = [point for point in takewhile(_looks_kept, found.curve) if point.cost < 1]
    return judged(whole, found.calibrations, min(passed, key=lambda point: point.cost, default=None))


def _looks_kept(point: Point) -> bool:
    pairs = point.pairs
    excess = pairs.losses - pairs.gains - (1 - PROMISE.quality) * pairs.dear
    return excess <= -1.645 * sqrt(pairs.losses + pairs.gains)


def naive(whole: Labelled, drawn: Labelled, _: int) -> Kept:
    """The cheapest cut of the raw confidence that keeps the quality on the rows drawn, all of them."""
    cuts = np.unique(drawn.score[:, 0])[:, None]
    cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, 200).astype(np.int64))]
    seen = outcomes(cuts, Answers(drawn.right, drawn.score, drawn.cost))
    fine = np.flatnonzero((seen.losses - seen.gains <= (1 - PROMISE.quality) * drawn.right[:, -1].sum()) & (seen.cost < 1))
    return _of(whole, whole.score, cuts[fine[np.argmin(seen.cost[fine])]]) if len(fine) else NOTHING


def judged(whole: Labelled, calibrations: Sequence[Calibration], point: Point | None) -> Kept:
    """What this point is worth on the whole set."""
    if point is None:
        return NOTHING
    scores = [each.apply(whole.score[:, at], whole.label[:, at].tolist()) for at, each in enumerate(calibrations)]
    cuts = np.array([np.inf if cut is None else cut for cut in point.cuts])
    return _of(whole, np.stack(scores, axis=1), cuts)


def _of(whole: Labelled, scores: Floats, cuts: Floats) -> Kept:
    seen = outcomes(cuts[None], Answers(whole.right, scores, whole.cost))
    broken = seen.losses[0] - seen.gains[0] > (1 - PROMISE.quality) * whole.right[:, -1].sum()
    return Kept(float(seen.cost[0]), float(broken), 1.0)


def many(method: Method, rows: int, runs: int, group: Group, truth: bool = False) -> Kept:
    """The means over so many draws of so many rows; `truth`: the dearest's answers are."""
    whole = agreeing(group) if truth else population(group)
    rng = np.random.default_rng((rows, *group.services, len(group.name)))
    found = [method(whole, some(whole, rows, rng), run) for run in range(runs)]
    return Kept(*(float(mean) for mean in np.mean(found, axis=0)))


def escalated(group: Group, how: str) -> float:
    """The least share of rows sent up with which the pair keeps what is promised, on the set itself.

    `how` is raw confidence, one map for all labels, or one for each; each half of the rows is read by the other half's maps.
    """
    whole = population(group)
    right, score = whole.right, whole.score[:, 0].copy()
    labels = whole.label[:, 0] if how == "per label" else np.full(len(right), "")
    half = np.random.default_rng(1).random(len(right)) < 0.5
    for part in (half, ~half) if how != "raw" else ():
        maps = fit(whole.score[part, 0], labels[part].tolist(), right[part, 0].astype(np.float64))
        score[~part] = maps.apply(whole.score[~part, 0], labels[~part].tolist())
    cuts = np.unique(np.quantile(score, np.arange(500) / 500, method="lower"))
    seen = outcomes(cuts[:, None], Answers(right, score[:, None], whole.cost))
    fine = seen.losses - seen.gains <= (1 - PROMISE.quality) * right[:, -1].sum()
    return float(seen.shares[fine, 1].min(initial=1.0))


def hard_coded(group: Group) -> float:
    """The quality, relative to the dearest's, with a cut of 0.7 of the raw confidence."""
    whole = population(group)
    seen = outcomes(np.array([[0.7]]), Answers(whole.right, whole.score, whole.cost))
    return float(1 - (seen.losses[0] - seen.gains[0]) / whole.right[:, -1].sum())


def _table(title: str, of: Sequence[Group], columns: dict[str, tuple[Method, int, bool]], runs: int) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield f"| {runs:,} draws each: broken · relative cost | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    with ProcessPoolExecutor() as pool:
        cells = {name: pool.map(partial(_one, method, rows, runs, truth), of) for name, (method, rows, truth) in columns.items()}
        found = {name: list(each) for name, each in cells.items()}
    for row, group in enumerate(of):
        star = "" if group.worth_it else " *"
        yield f"| {group}{star} | {' | '.join(_cell(found[name][row]) for name in columns)} |"
    hard = [row for row, group in enumerate(of) if group.worth_it]
    for name, rows in (("**mean of those without \\***", hard), ("**mean of all**", list(range(len(of))))):
        means = {column: [found[column][row] for row in rows] for column in columns}
        yield f"| {name} | {' | '.join(_mean(each) for each in means.values())} |"


def _one(method: Method, rows: int, runs: int, truth: bool, group: Group) -> Kept:
    return many(method, rows, runs if group.worth_it else max(1, runs // 50), group, truth)


def _cell(kept: Kept) -> str:
    return f"{kept.broken:.1%} · {kept.cost:.2f}"


def _mean(kept: Sequence[Kept]) -> str:
    worst = max(each.broken for each in kept)
    return f"**{np.mean([each.broken for each in kept]):.2%} (worst {worst:.1%}) · {np.mean([each.cost for each in kept]):.3f}**"


def _shares() -> Iterator[str]:
    yield "## The share sent up that keeps 99 %"
    yield ""
    yield "| first model, dearest better | bar | per label | one map | raw confidence |"
    yield "|---|---|---|---|---|"
    pairs = [pair for pair in groups(2) if pair.worth_it]
    for name, bar, of in (
        ("free", "≤ .47 against .57", [pair for pair in pairs if pair.services[0] == 0]),
        ("mid-price", "≤ .27 against .38", [pair for pair in pairs if pair.services[0] > 0]),
        ("mid-price, all pairs", "", [pair for pair in groups(2) if pair.services[0] > 0]),
    ):
        means = [np.mean([escalated(pair, how) for pair in of]) for how in ("per label", "one map", "raw")]
        yield f"| {name} ({len(of)} pairs) | {bar} | {' | '.join(f'{mean:.3f}' for mean in means)} |"
    kept = {str(pair): hard_coded(pair) for pair in pairs}
    below = {name: quality for name, quality in kept.items() if quality < PROMISE.quality}
    yield ""
    yield (
        f"A hard-coded cut of 0.7: below 99 % on {len(below)} of {len(pairs)} pairs, "
        f"the worst {min(kept.values()):.1%} ({min(kept, key=kept.__getitem__)})."
    )


SETTINGS = """# What certified cuts are worth on real services

`python -m tests.routing.simulations.cascades --runs {runs}`, seeded. Three sets of FrugalML (tests/routing/cascade/data), four
services each, all pairs and triples in the order of their prices; rows are drawn with replacement, and what comes of them is
judged on the whole set. rho = .99, delta = .05. Where there is a star the dearest is right less often than the first, so that the
first alone keeps any promise (a fiftieth of the draws). No cascade counts as a cost of 1. Bars: broken in at most 5 % of the
draws of each pair and 2 % on average; a relative cost of at most .71 with two stages at n = 5 000, of .52 with three.
"""


def main() -> None:
    """Writes all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    runs = asked.runs
    ours: dict[str, tuple[Method, int, bool]] = {f"certified, n = {rows:,}": (certified, rows, False) for rows in (1000, 5000)}
    others: dict[str, tuple[Method, int, bool]] = {
        f"{name}, n = {rows:,}": (method, rows, False)
        for name, method in (("best cut on the sample", naive), ("normal approximation", normal))
        for rows in (1000, 5000)
    }
    also: dict[str, tuple[Method, int, bool]] = {
        "bets, read after every label, n = 5,000": (anytime, 5000, False),
        "the dearest's answer is the truth, n = 1,000": (certified, 1000, True),
        "the dearest's answer is the truth, n = 5,000": (certified, 5000, True),
    }
    lines = chain(
        _table("Two stages", groups(2), ours, runs),
        ("",),
        _table("Three stages, each of which may be left out", groups(3), ours, runs),
        ("",),
        _shares(),
        ("",),
        _table("What people do instead", [pair for pair in groups(2) if pair.worth_it], others, max(1, runs // 4)),
        ("",),
        _table("Other ways to read it", [pair for pair in groups(2) if pair.worth_it], also, max(1, runs // 4)),
    )
    with asked.results.open("w") as file:
        for line in chain((SETTINGS.format(runs=runs),), lines):
            print(line, flush=True)
            print(line, file=file)


if __name__ == "__main__":
    main()
