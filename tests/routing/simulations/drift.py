# ruff: noqa: T201 - a program: it prints
"""How soon a cascade's audit finds a drift, and how often one that is none, beside what people use instead.

`python -m tests.routing.simulations.drift --runs 4000` prints the tables of loadtest/results/audit.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from math import log, sqrt

import numpy as np
import numpy.typing as npt

from routing.cascade.watch import REACHED, WEIGHTS, stakes

PROMISED, GOOD, BAD = 0.01, 0.006, 0.03
WINDOW = 400  # audited requests that the usual methods look back
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Draw = Callable[[int], Floats]  # by the number of the audited request: of each run, the share of its rows that are different


class Detector:
    """The audit's, of many runs at once."""

    def __init__(self, runs: int, renewed: bool = True) -> None:
        """Not `renewed`: the plain martingale, which reaches 1/(1 %) where it proves a rate above the promise since the start."""
        self._slopes, self._renewed = np.array(stakes(PROMISED)), renewed
        self._evidence = np.zeros((runs, len(WEIGHTS))) if renewed else np.ones((runs, len(WEIGHTS)))
        self._reached = REACHED if renewed else 100.0

    def saw(self, x: Floats) -> Bools:
        """One audited request of each run; which runs are in alarm now."""
        self._evidence = (self._evidence + self._renewed) * (1 + self._slopes * (x[:, None] - PROMISED))
        return np.asarray(self._evidence @ np.array(WEIGHTS) >= self._reached)

    def restart(self, which: Bools) -> None:
        """These begin anew."""
        self._evidence[which] = 0.0 if self._renewed else 1.0


class Window:
    """Looks at the last WINDOW audited requests, once there are as many: at a test, or only at whether the rate is above."""

    def __init__(self, runs: int, alpha: float | None) -> None:
        self._last, self._seen, self._sum = np.zeros((runs, WINDOW)), np.zeros(runs, dtype=np.int64), np.zeros(runs)
        z = 2.326 if alpha == 0.01 else 3.719 if alpha == 1e-4 else 0.0
        self._most = WINDOW * (PROMISED + z * sqrt(PROMISED * (1 - PROMISED) / WINDOW))

    def saw(self, x: Floats) -> Bools:
        """As of a Detector."""
        at = self._seen % WINDOW
        rows = np.arange(len(x))
        self._sum += x - self._last[rows, at]
        self._last[rows, at] = x
        self._seen += 1
        return np.asarray((self._seen >= WINDOW) & (self._sum > self._most + 1e-9))

    def restart(self, which: Bools) -> None:
        """These begin anew."""
        self._last[which], self._seen[which], self._sum[which] = 0.0, 0, 0.0


Method = Detector | Window
METHODS: dict[str, Callable[[int], Method]] = {
    "audit": Detector,
    "martingale, not renewed, α = 1 %": lambda runs: Detector(runs, renewed=False),
    f"test on the last {WINDOW}, α = 1 %": lambda runs: Window(runs, 0.01),
    f"test on the last {WINDOW}, α = 1/10 000": lambda runs: Window(runs, 1e-4),
    f"rate of the last {WINDOW} above the promise": lambda runs: Window(runs, None),
}


def steady(share: float, runs: int, seed: int) -> Draw:
    """Each audited request has one audited row, which is different with this probability."""
    rng = np.random.default_rng(seed)
    return lambda _: np.asarray(rng.random(runs) < share, dtype=np.float64)


def clumped(share: float, runs: int, seed: int) -> Draw:
    """Of 32 audited rows in each request, either none is different or half of them are."""
    rng = np.random.default_rng(seed)
    return lambda _: np.where(rng.random(runs) < 2 * share, 0.5, 0.0)


def stormy(share: float, runs: int, seed: int) -> Draw:
    """Of every 1 000 requests 200 are as bad as this, the others four times better."""
    rng = np.random.default_rng(seed)
    return lambda number: np.asarray(rng.random(runs) < (share if number % 1000 < 200 else share / 4), dtype=np.float64)


def alarms(method: Callable[[int], Method], draw: Draw, runs: int, requests: int) -> tuple[float, float]:
    """Alarms per 10 000 audited requests, begun anew after each, and the share of runs that have one in the first so many."""
    made, count, ever = method(runs), 0, np.zeros(runs, dtype=bool)
    for number in range(requests):
        found = made.saw(draw(number))
        if found.any():
            count += int(found.sum())
            ever |= found
            made.restart(found)
    return count / runs / requests * 10_000, float(ever.mean())


def delays(method: Callable[[int], Method], before: Draw, after: Draw, runs: int, good: int, most: int = 20_000) -> Floats:
    """Audited requests from the drift, after `good` of them, to the alarm; an alarm before it is a false one, and begun anew."""
    made, found = method(runs), np.full(runs, float(most))
    for number in range(good):
        if (false := made.saw(before(number))).any():
            made.restart(false)
    waiting = np.ones(runs, dtype=bool)
    for number in range(most):
        now = waiting & made.saw(after(number))
        found[now], waiting = number + 1, waiting & ~now
        if not waiting.any():
            break
    return found


def bound(share: float) -> float:
    """log(10 000) over the information of one audited request: Lorden's bound but for a constant."""
    return log(REACHED) / (share * log(share / PROMISED) + (1 - share) * log((1 - share) / (1 - PROMISED)))


def false_alarms(runs: int) -> Iterator[str]:
    """How often the promise is kept and there is an alarm all the same."""
    yield "| alarms per 10 000 audited requests | bar | " + " | ".join(METHODS) + " |"
    yield "|---|---|" + "---|" * len(METHODS)
    cases: dict[str, Callable[[], Draw]] = {
        "exactly as promised, 1 %": lambda: steady(PROMISED, runs, 1),
        "good, 0.6 %": lambda: steady(GOOD, runs, 2),
        "exactly as promised, wrong together, 16 of 32 rows": lambda: clumped(PROMISED, runs, 3),
        "as promised in 200 of 1 000 requests, else a quarter": lambda: stormy(PROMISED, runs, 4),
    }
    for name, draw in cases.items():
        found = [alarms(method, draw(), runs, 10_000) for method in METHODS.values()]
        yield f"| {name} | ≤ 1 | " + " | ".join(f"{each:.3f} (in {ever:.1%} of runs)" for each, ever in found) + " |"


def drifts(runs: int) -> Iterator[str]:
    """How soon a drift is found."""
    yield "| audited requests until the alarm, mean (95 % within) | bar | " + " | ".join(METHODS) + " |"
    yield "|---|---|" + "---|" * len(METHODS)
    for good in (0, 1000, 20_000):
        for share in (0.02, BAD, 0.1):
            found = [
                delays(method, steady(GOOD, runs, 5), steady(share, runs, 6), runs, good, 3000 if share > 0.02 else 20_000)
                for method in METHODS.values()
            ]
            bar = "≤ 400" if share == BAD else ""
            said = " | ".join(f"{each.mean():,.0f} ({np.quantile(each, 0.95):,.0f})" for each in found)
            yield f"| .6 % → {share:.0%} after {good:,} | {bar} | {said} |"


SETTINGS = """# How soon an audit finds a drift, simulated

`python -m tests.routing.simulations.drift --runs {runs}`, seeded; promise 99 %. One audited row a request unless said.
False alarms: 10 000 audited requests a run, begun anew after each alarm; beside them the share of runs with any.
Delays: from the drift to the alarm, 3 000 (20 000 for 2 %) where there was none. log(10 000)/KL is {bounds}.
"""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    runs = parser.parse_args().runs
    bounds = ", ".join(f"{bound(share):,.0f} at {share:.0%}" for share in (0.02, BAD, 0.1))
    print(SETTINGS.format(runs=runs, bounds=bounds))
    for table in (false_alarms(runs), drifts(runs)):
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
