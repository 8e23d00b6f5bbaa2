"""Adds up, by whatever key, the weights of samples that stand for more requests than themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from operator import itemgetter
from typing import TypeVar

K = TypeVar("K")


class Weights(defaultdict[K, float]):
    """What has no weight yet has 0."""

    def __init__(self) -> None:
        super().__init__(float)

    def take(self, others: Mapping[K, float], share: float = 1.0) -> None:
        """Adds others' weights, or a share of each."""
        for key, weight in others.items():
            self[key] += weight * share

    def heaviest(self) -> list[tuple[K, float]]:
        """All of them, the largest first; of equal ones the first first."""
        return sorted(self.items(), key=itemgetter(1), reverse=True)
