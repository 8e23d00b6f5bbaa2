"""When requests are due, and being woken then."""

import asyncio
import time

from loadtest.pacing import Alarm, schedule


def test_even_arrivals_have_equal_distances() -> None:
    """One request every 1/rate seconds."""
    assert schedule(4, 1.0, seed=1, even=True) == [0, 250_000_000, 500_000_000, 750_000_000]


def test_poisson_arrivals_repeat_for_a_seed() -> None:
    """The same seed gives the same schedule, another seed another."""
    assert schedule(100, 5, seed=3, even=False) == schedule(100, 5, seed=3, even=False)
    assert schedule(100, 5, seed=3, even=False) != schedule(100, 5, seed=4, even=False)


def test_poisson_arrivals_keep_the_rate_and_the_end() -> None:
    """In order, before the end, and as many as the rate says give or take four standard deviations."""
    due = schedule(1000, 10, seed=1, even=False)
    assert sorted(due) == due
    assert due[-1] < 10_000_000_000
    assert 9600 < len(due) < 10400


async def test_the_alarm_never_rings_early() -> None:
    """It rings once, at or after its moment; a moment that is past rings at once."""
    rung = asyncio.Event()
    alarm = Alarm(asyncio.get_running_loop(), rung.set)
    for delay in (3_000_000, -1_000_000):
        moment = time.monotonic_ns() + delay
        alarm.set(moment)
        await asyncio.wait_for(rung.wait(), 2)
        assert moment <= time.monotonic_ns()
        rung.clear()
    alarm.close()
