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
    """All times in seconds on one clock; a bucket never used has any `tat` up to `now`."""
    over = wait(tat, now, cost, interval, burst)
    return Conformity(False, tat, over) if over else Conformity(True, max(tat, now) + cost * interval, 0.0)


def wait(tat: float, now: float, cost: float, interval: float, burst: float) -> float:
    """Seconds until it conforms, 0.0 if it does.

    What costs more than `burst` would never fit: it conforms when the bucket is empty, and its whole cost is paid for afterwards.
    """
    if tat <= now:
        return 0.0
    over = tat - now - (burst - cost if cost < burst else 0.0) * interval
    return over if over > SLACK else 0.0


def left(tat: float, now: float, interval: float, burst: float) -> int:
    """How many whole units conform now, one after another."""
    if tat <= now:
        return int(burst)
    filled = tat - now - SLACK
    free = burst - filled / interval if filled > 0 else burst
    return int(free) if free > 0 else 0
