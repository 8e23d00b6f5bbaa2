"""What a request asks of the limits that hold for it, and what they answer: the words of every meter, near or far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

Kind = Literal["requests", "bytes", "concurrency"]
COME_BACK = 1.0  # seconds, where only others' endings make room: nobody knows when


class Demand(msgspec.Struct, frozen=True, gc=False):
    """`cost` units of the bucket `key`, which refills with `rate` units per second and holds `burst`.

    Of `concurrency`, `burst` is the ceiling, `cost` 1 and `rate` 0. A key says which limit, as defined, and whose bucket of it.
    """

    key: str
    kind: Kind
    cost: int
    rate: float
    burst: int

    def part(self, parts: float) -> Demand:
        """The same of one of so many parts of the bucket, which holds whole units, and at least one."""
        return replace(self, rate=self.rate / parts, burst=math.ceil(self.burst / parts))


class Level(msgspec.Struct, frozen=True, gc=False):  # a NamedTuple takes four times as long to make
    """One demand held against its bucket. `wait`: 0 if it fits, else seconds until it could. `left`: units once it is taken, or
    as they are if it does not fit; `reset`: seconds until the bucket has all its units again.
    """

    wait: float
    left: int
    reset: float


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether all of a request's demands were taken, or none because the one at index `limited` did not fit.

    `retry_after` in seconds. `remaining` and `reset` (seconds) are of the demand at index `told`: the one that did not fit, else
    the one nearest to its end.
    """

    limited: int | None
    retry_after: float
    remaining: int
    reset: float
    told: int


def verdict(demands: Sequence[Demand], levels: Sequence[Level]) -> Verdict:
    """The same of all meters: of several that do not fit, the one that takes longest; there is at least one demand."""
    told = 0
    if len(levels) > 1:
        waits = [level.wait for level in levels]
        longest = max(waits)
        if longest > 0:
            told = waits.index(longest)
        else:
            shares = [level.left / demand.burst for level, demand in zip(levels, demands, strict=True)]
            told = shares.index(min(shares))
    level = levels[told]
    return Verdict(told if level.wait > 0 else None, level.wait, level.left, level.reset, told)
