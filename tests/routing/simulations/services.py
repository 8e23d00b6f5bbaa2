"""Real services' answers to the same questions, as populations from which labelled rows are drawn."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np

from routing.cascade.certify import Floats, Labelled

FILES = Path(__file__).parents[1] / "cascade" / "data"
SETS = ("digit", "ferplus", "yelp")
SERVICES = 4


@dataclass(frozen=True)
class Group:
    """Services of one set in a cascade, cheapest first; the last is the dearest."""

    name: str
    services: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {'→'.join(f's{service}' for service in self.services)}"

    @property
    def worth_it(self) -> bool:
        """Whether the dearest is right more often than the first: otherwise the first alone keeps any promise."""
        right = population(self).right
        return bool(right[:, -1].mean() > right[:, 0].mean())


def groups(stages: int) -> list[Group]:
    """All of so many services in the order of their prices."""
    return [Group(name, services) for name in SETS for services in combinations(range(SERVICES), stages)]


@lru_cache
def population(group: Group) -> Labelled:
    """All rows there are."""
    right, score, label, cost = _read(group.name)
    some, first = list(group.services), list(group.services[:-1])
    return Labelled(right[:, some], score[:, first], label[:, first], cost[some])


@lru_cache
def agreeing(group: Group) -> Labelled:
    """The same where the dearest's answer is the truth, as in shadow-labelled rows."""
    label = _read(group.name)[2]
    right = label[:, list(group.services)] == label[:, [group.services[-1]]]
    return replace(population(group), right=right, truth=True)


def some(whole: Labelled, rows: int, rng: np.random.Generator) -> Labelled:
    """Rows drawn with replacement."""
    drawn = rng.integers(0, len(whole.right), rows)
    return replace(whole, right=whole.right[drawn], score=whole.score[drawn], label=whole.label[drawn])


@lru_cache
def _read(name: str) -> tuple[np.ndarray, Floats, np.ndarray, Floats]:
    with gzip.open(FILES / f"{name}.csv.gz", "rt") as file:
        head, *lines = csv.reader(file)
    with (FILES / f"{name}.prices.csv").open() as file:
        cost = np.array([float(line["price_per_call_usd"]) for line in csv.DictReader(file)])
    columns = {column: [line[at] for line in lines] for at, column in enumerate(head)}

    def of(what: str) -> np.ndarray:
        return np.array([columns[f"s{service}_{what}"] for service in range(SERVICES)]).T

    return of("correct") == "1", of("confidence").astype(np.float64), of("label"), cost
