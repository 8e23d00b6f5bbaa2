"""Every endpoint of the policy in force is checked, and none of an earlier one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.rules import Checks, Rules
from gateway.health import Health, asked_of
from gateway.snapshot import Snapshot
from routing.plan import Target

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake


class Asked:
    """Counts the checks, and says what it is told to."""

    def __init__(self) -> None:
        self.checks = 0
        self.ready_now = True
        self.failure: InferenceError | None = None

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        self.checks += 1
        if self.failure is not None:
            raise self.failure
        return self.ready_now


def quick(fake: Fake, version: str = "v1", **models: tuple[Target, ...]) -> Snapshot:
    """A snapshot whose cluster is checked every 10 ms."""
    snapshot = fake.snapshot(version, **models)
    snapshot.clusters["triton"].rules = Rules(8, health=Checks(0.01, 1.0))
    return snapshot


@contextlib.asynccontextmanager
async def watching(snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
    """While the block lasts."""
    task = asyncio.create_task(Health(snapshot).watch())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.001)


async def test_endpoints_are_checked_again_and_again(fake: Fake) -> None:
    """A model that stops being ready is known to, and one that is again."""
    server = Asked()
    fake.backend = server  # type: ignore[assignment]
    snapshot = quick(fake)
    (endpoint,) = snapshot.clusters["triton"].endpoints
    async with watching(lambda: snapshot):
        await until(lambda: server.checks > 9)
        assert endpoint.sound
        server.ready_now = False
        await until(lambda: bool(endpoint.doubt(("b_fast", ""), 0.0)))
        server.ready_now = True
        await until(lambda: not endpoint.doubt(("b_fast", ""), 0.0))


async def test_a_new_policy_s_clusters(fake: Fake) -> None:
    """Are checked soon, and those that are gone no more."""
    fake.backend = old = Asked()  # type: ignore[assignment]
    snapshot = quick(fake)
    async with watching(lambda: snapshot):
        await until(lambda: old.checks > 0)
        fake.backend = new = Asked()  # type: ignore[assignment]
        snapshot = quick(fake, "v2")
        await until(lambda: new.checks > 0)
        before, checks = old.checks, new.checks
        await until(lambda: new.checks > checks + 9)
        assert before == old.checks


async def test_what_changes_is_logged(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    """Once when an endpoint goes, once when it is back."""
    server = Asked()
    fake.backend = server  # type: ignore[assignment]
    snapshot = quick(fake)
    async with watching(lambda: snapshot):
        server.failure = InferenceError(ErrorKind.UNAVAILABLE, "gone")
        await until(lambda: 1 == len(caplog.messages))
        before = server.checks
        await until(lambda: server.checks > before + 3)
        server.failure = None
        await until(lambda: 2 == len(caplog.messages))
    assert ["a cannot be reached, or does not answer", "a takes questions again"] == [
        message.removeprefix("backend 'triton': ") for message in caplog.messages
    ]


def test_which_models(fake: Fake) -> None:
    """Those that the policy's routes may ask of the cluster, each version once."""
    snapshot = fake.snapshot(one=(fake.fast, fake.dear), two=(fake.fast,))
    assert {("b_fast", ""), ("b_dear", "2")} == asked_of(snapshot, snapshot.clusters["triton"])
