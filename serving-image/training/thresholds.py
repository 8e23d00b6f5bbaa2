"""Choose from which confidence a cheap model's answer may be kept, on validation rows only."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

GRID = tuple(round(0.5 + step / 100, 2) for step in range(50))


@dataclass(frozen=True, slots=True)
class Cascade:
    """One threshold per stage but the last, with the accuracy, the rows each stage answers and the mean cost per row."""

    accept: tuple[float, ...]
    accuracy: float
    rows: tuple[int, ...]
    cost: float


def run(stages: list[Any], labels: Any, accept: tuple[float, ...], costs: tuple[float, ...]) -> Cascade:
    """Send rows through `stages` (probabilities float32 [n, 10], cheapest first); a row stays where max-softmax ≥ accept."""
    undecided = np.ones(len(labels), dtype=bool)
    correct, rows, cost = 0, [], 0.0
    for probabilities, price, threshold in zip(stages, costs, (*accept, 0.0), strict=True):
        kept = undecided & (probabilities.max(axis=1) >= np.float32(threshold))
        cost += price * int(undecided.sum())
        correct += int((probabilities.argmax(axis=1) == labels)[kept].sum())
        rows.append(int(kept.sum()))
        undecided &= ~kept
    return Cascade(accept, correct / len(labels), tuple(rows), cost / len(labels))


def choose(stages: list[Any], labels: Any, costs: tuple[float, ...], lost: float) -> Cascade:
    """Return the cheapest cascade that is at most `lost` less accurate than its last stage alone."""
    wanted = float((stages[-1].argmax(axis=1) == labels).mean()) - lost
    tried = (run(stages, labels, accept, costs) for accept in product(GRID, repeat=len(stages) - 1))
    return min((cascade for cascade in tried if cascade.accuracy >= wanted), key=lambda cascade: cascade.cost)
