"""Time that runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Call
from policies.deadline import DeadlinePolicy

Make = Callable[..., Call]


async def test_whatever_is_waited_for_ends(make_call: Make) -> None:
    """At the deadline the ask below is cancelled and the caller hears DEADLINE."""
    cancelled = False

    async def ask(call: Call) -> Answer:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    at = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(InferenceError) as caught:
        await DeadlinePolicy()(make_call(at=at), ask)
    assert caught.value.kind is ErrorKind.DEADLINE
    assert cancelled


async def test_past_deadline_asks_nobody(make_call: Make) -> None:
    """A call that is late already is not started."""

    async def ask(call: Call) -> Answer:
        raise AssertionError("asked")

    with pytest.raises(InferenceError) as caught:
        await DeadlinePolicy()(make_call(at=0.0), ask)
    assert caught.value.kind is ErrorKind.DEADLINE


async def test_an_outer_cancellation_stays_one(make_call: Make) -> None:
    """A client that leaves is not told about a deadline."""
    reached = asyncio.Event()

    async def ask(call: Call) -> Answer:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(DeadlinePolicy()(make_call(), ask))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_that_leaves_as_time_runs_out(make_call: Make) -> None:
    """With both cancellations pending it is the client's that goes on: nobody is there to hear of a deadline."""
    reached, release = asyncio.Event(), asyncio.Event()

    async def ask(call: Call) -> Answer:
        try:
            reached.set()
            await asyncio.Event().wait()
        finally:
            await release.wait()  # slow to clean up: the deadline passes meanwhile
        raise AssertionError

    at = asyncio.get_running_loop().time() + 0.02
    task = asyncio.create_task(DeadlinePolicy()(make_call(at=at), ask))
    await reached.wait()
    task.cancel()
    while asyncio.get_running_loop().time() < at + 0.02:  # noqa: ASYNC110 - what is waited for is time itself
        await asyncio.sleep(0.005)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
