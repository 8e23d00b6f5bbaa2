"""Meters a rate without a queue and with one number of state: the generic cell rate algorithm.

Theory (ITU-T I.371, annex A, "virtual scheduling"; also known as the leaky bucket as a meter): a bucket that leaks one unit
every `interval` seconds is described whole by the moment when it will be empty, the theoretical arrival time `tat`. What comes
pours its cost in, which moves `tat` on by `cost * interval`, and conforms if the bucket does not hold more than `burst` then.
So in any window of t seconds at most `t / interval + burst` units conform, and a bucket whose `tat` has passed is the same as
one never used.
"""

from __future__ import annotations

from typing import NamedTuple

SLACK = 1e-6  # seconds: `burst` steps of `interval` are not exactly one of `burst * interval` in binary fractions


class Conformity(NamedTuple):
    """Whether it may pass, the bucket's state from now on, and if it may not, after how many seconds it could."""

    allowed: bool
    tat: float
    retry_after: float


def gcra(tat: float, now: float, cost: float, interval: float, burst: float) -> Conformity:
    """All times in seconds on one clock; a bucket never used has any `tat` up to `now`.

    What costs more than `burst` would never fit: it passes when the bucket is empty, and its whole cost is paid for afterwards.
    """
    start = tat if tat > now else now
    wait = start - now - (burst - min(cost, burst)) * interval
    if wait > SLACK:
        return Conformity(False, tat, wait)
    return Conformity(True, start + cost * interval, 0.0)


def left(tat: float, now: float, interval: float, burst: float) -> int:
    """How many whole units conform now, one after another."""
    return max(0, int(burst - (max(tat, now) - now - SLACK) / interval)) if tat > now else int(burst)
