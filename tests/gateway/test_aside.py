"""Work beside the loop: its results come back, and what hangs there holds nobody up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from functools import partial

import pytest

from gateway.aside import WAITING, Aside, alone, here


async def test_work_is_done_in_another_thread_in_its_order() -> None:
    """What it returns or raises comes back to whoever asked."""
    aside, order = Aside("test"), list[int]()

    def work(number: int) -> int:
        order.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(aside(partial(work, number)) for number in range(9)))
    assert list(range(9)) == order
    assert (1, False) == (len(set(threads)), threading.get_ident() in threads)
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)
    aside.close()


async def test_who_leaves_leaves_the_work_going_on() -> None:
    """Nobody is told of its end, and the next is done as ever."""
    aside, go, done = Aside("test"), threading.Event(), list[int]()

    def work() -> None:
        go.wait(5)
        done.append(1)

    waiting = asyncio.ensure_future(aside(work))
    await asyncio.sleep(0)
    waiting.cancel()
    go.set()
    assert 2 == await aside(lambda: 2)
    assert [1] == done
    aside.close()


async def test_not_everything_waits_behind_what_hangs() -> None:
    """Beyond a bound it is refused at once."""
    aside, go = Aside("test"), threading.Event()
    waiting = [asyncio.ensure_future(aside(lambda: go.wait(5))) for _ in range(WAITING + 1)]
    await asyncio.sleep(0)
    while aside._queue.qsize() > WAITING:  # noqa: ASYNC110 - until the thread has taken the first
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="has not come to an end"):
        await aside(lambda: go.wait(5))
    go.set()
    await asyncio.wait(waiting, timeout=5)
    aside.close()


async def test_nothing_waits_behind_what_is_done_alone() -> None:
    """Each piece has a thread of its own, so that one that hangs holds up no other; what it raises comes back."""
    go = threading.Event()
    hanging = asyncio.ensure_future(alone(partial(go.wait, 5)))
    threads = await asyncio.gather(*(alone(threading.get_ident) for _ in range(3)))
    assert (False, False) == (hanging.done(), threading.get_ident() in threads)
    with pytest.raises(ZeroDivisionError):
        await alone(lambda: 1 // 0)
    go.set()
    assert await hanging


async def test_here_is_here() -> None:
    """Without a thread, for a process that must have none."""
    assert threading.get_ident() == await here(threading.get_ident)


@pytest.mark.parametrize("how", ['Aside("test")', "alone"])
def test_a_thread_that_hangs_does_not_hold_the_process(how: str) -> None:
    """The loop ends, and so does the process."""
    program = f"""
import asyncio, threading
from gateway.aside import Aside, alone
async def main():
    asyncio.ensure_future({how}(threading.Event().wait))
    await asyncio.sleep(0.05)
asyncio.run(main())
"""
    assert 0 == subprocess.run([sys.executable, "-c", program], timeout=10, check=False).returncode


async def test_a_loop_that_is_over_is_not_called() -> None:
    """What ends after it, ends quietly."""
    go, aside = threading.Event(), Aside("test")

    async def ask() -> None:
        asyncio.ensure_future(aside(lambda: go.wait(5)))  # noqa: RUF006 - nobody waits for it, on purpose
        await asyncio.sleep(0)

    await asyncio.to_thread(asyncio.run, ask())
    go.set()
    assert aside._thread is not None
    await asyncio.to_thread(aside._thread.join, 5)
    assert not aside._thread.is_alive()
