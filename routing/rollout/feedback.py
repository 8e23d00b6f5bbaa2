"""What clients may tell later of a request: which numbers, true or false, or labels, and what each of them counts as."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Literal

import msgspec

Value = bool | int | float | str


class Feedback(msgspec.Struct, frozen=True):
    """One metric. `of` all: a unit of which nothing is told counts as 0; of told: only those count of which it is told."""

    metric: str
    of: Literal["all", "told"] = "all"
    low: float = 0.0
    high: float = 1.0
    labels: Mapping[str, float] = {}

    @property
    def yes_or_no(self) -> bool:
        """Whether it only happens or does not."""
        return not self.labels and (self.low, self.high) == (0.0, 1.0)

    def read(self, value: Value) -> float | None:
        """What the value counts as, from `low` to `high`; None for one that cannot be told of this metric."""
        if isinstance(value, str):
            return self.labels.get(value)
        if self.labels or (isinstance(value, bool) and not self.yes_or_no):
            return None
        number = float(value)
        return number if isfinite(number) and self.low <= number <= self.high else None
