"""When requests are due, decided before the first is sent, and an alarm that wakes the event loop exactly then."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
from collections.abc import Callable

TFD_NONBLOCK, TFD_TIMER_ABSTIME, CLOCK_MONOTONIC = os.O_NONBLOCK, 1, 1
NANOSECONDS = 1_000_000_000


def schedule(rate: float, seconds: float, seed: int, even: bool) -> list[int]:
    """Nanoseconds from the start at which requests are due: one every 1/rate, or a Poisson process, the same for each seed."""
    if even:
        return [round(index / rate * NANOSECONDS) for index in range(int(rate * seconds))]
    chance = random.Random(seed)
    due: list[int] = []
    moment = chance.expovariate(rate)
    while moment < seconds:
        due.append(round(moment * NANOSECONDS))
        moment += chance.expovariate(rate)
    return due


class _Timerspec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class Alarm:
    """A Linux timerfd. The loop's own timers are rounded to a millisecond, more than the latencies to be measured."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = loop
        self._ring = ring
        loop.add_reader(self._descriptor, self._fired)

    def set(self, moment: int) -> None:
        """Ring at this value of time.monotonic_ns(); at once if it is past. Replaces the moment set before."""
        spec = _Timerspec(0, 0, *divmod(max(1, moment), NANOSECONDS))
        if self._libc.timerfd_settime(self._descriptor, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Never ring again."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _fired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return  # the loop reported a ring that a new `set` has taken back
        self._ring()
