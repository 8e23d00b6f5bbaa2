"""What a cluster asks once more, what it never does, and that nothing is lost on the way, whoever leaves when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Tensors
from backends.rules import Ejection, Hedge, Retry, Rules
from tests.backends.conftest import make, until

if TYPE_CHECKING:
    from tests.backends.conftest import Set

Make = Callable[..., "Set"]
REQUEST = InferenceRequest("m", "", "", {}, (), (), Tensors(()))
GONE = InferenceError(ErrorKind.UNAVAILABLE, "refused", retryable=True)
RETRY = Rules(64, retry=Retry(2, 1.0))


def soon(seconds: float = 60.0) -> Deadline:
    return Deadline(monotonic() + seconds)


def failure(kind: ErrorKind) -> InferenceError:
    return InferenceError(kind, kind.value)


@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.OVERLOADED])
async def test_a_failure_is_retried_elsewhere(scripted: Make, kind: ErrorKind) -> None:
    """The client hears the other endpoint's answer, for streams too."""
    found = scripted(RETRY, "a", "b")
    found.servers[0].failure = failure(kind)
    assert "b" == (await found.cluster.infer(REQUEST, soon())).model
    found.cluster._balance._turn = 0
    assert ["b", "b"] == [response.model async for response in found.cluster.stream(REQUEST, soon())]
    assert (["retry", "retry"], True) == (found.repeats, found.idle())


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind not in (ErrorKind.BROKEN, ErrorKind.OVERLOADED)])
async def test_other_failures_are_not_retried(scripted: Make, kind: ErrorKind) -> None:
    """A client's mistake would be one elsewhere, too, and past the deadline nobody waits."""
    found = scripted(RETRY, "a", "b")
    found.servers[0].failure = failure(kind)
    with pytest.raises(InferenceError, match=kind.value):
        await found.cluster.infer(REQUEST, soon())
    assert [1, 0] == found.asked


async def test_a_retry_that_is_late_is_late(scripted: Make) -> None:
    """Whatever failed before, the client hears that time is up."""
    found = scripted(RETRY, "a", "b")
    found.servers[0].failure, found.servers[1].failure = failure(ErrorKind.BROKEN), failure(ErrorKind.DEADLINE)
    with pytest.raises(InferenceError, match="deadline"):
        await found.cluster.infer(REQUEST, soon())
    assert [1, 1] == found.asked


async def test_nothing_is_repeated_unless_the_rules_say_so(scripted: Make) -> None:
    """Without `retry` a failure is the client's."""
    found = scripted(Rules(), "a", "b")
    found.servers[0].failure = failure(ErrorKind.BROKEN)
    with pytest.raises(InferenceError, match="broken"):
        await found.cluster.infer(REQUEST, soon())
    assert [1, 0] == found.asked


@pytest.mark.parametrize(
    "more", [{"parameters": {"sequence_id": 1}}, {"headers": (("idempotency-key", "k"),)}], ids=["sequence", "idempotency-key"]
)
async def test_what_must_not_be_done_twice(scripted: Make, more: Any) -> None:
    """Is asked elsewhere only where nothing was asked before."""
    found = scripted(RETRY, "a", "b")
    found.servers[0].failure = failure(ErrorKind.OVERLOADED)
    with pytest.raises(InferenceError, match="overloaded"):
        await found.cluster.infer(replace(REQUEST, **more), soon())
    assert [1, 0] == found.asked
    found.servers[0].failure = GONE
    found.cluster._balance._turn = 0
    assert "b" == (await found.cluster.infer(replace(REQUEST, **more), soon())).model


async def test_attempts_are_bounded(scripted: Make) -> None:
    """And each goes where none was; the first failure is the cause."""
    found = scripted(Rules(64, retry=Retry(3, 1.0)), *"abcd")
    for server in found.servers:
        server.failure = InferenceError(ErrorKind.BROKEN, server.name)
    with pytest.raises(InferenceError, match="a"):
        await found.cluster.infer(REQUEST, soon())
    assert (3, 1) == (sum(found.asked), max(found.asked))


async def test_the_only_endpoint_is_asked_again(scripted: Make) -> None:
    """It may be a name that stands for several servers."""
    found = scripted(RETRY, "a")
    found.servers[0].failure = failure(ErrorKind.OVERLOADED)
    with pytest.raises(InferenceError):
        await found.cluster.infer(REQUEST, soon())
    assert [2] == found.asked


async def test_a_retry_that_comes_too_late_is_not_begun(scripted: Make) -> None:
    """The pause before it is longer than the time that is left."""
    found = scripted(RETRY, "a", "b", chance=0.999)
    found.servers[0].failure = failure(ErrorKind.BROKEN)
    with pytest.raises(InferenceError, match="broken"):
        await found.cluster.infer(REQUEST, soon(0.01))
    assert [1, 0] == found.asked


async def test_a_total_outage_is_not_multiplied(scripted: Make) -> None:
    """Every endpoint fails every question: nothing is repeated, once what a new budget holds is spent."""
    found = scripted(Rules(64, retry=Retry(3, 0.1)), *"abc")
    for server in found.servers:
        server.failure = failure(ErrorKind.BROKEN)
    for _ in range(1000):
        with pytest.raises(InferenceError):
            await found.cluster.infer(REQUEST, soon())
    assert 1003 == sum(found.asked)


async def test_an_outage_of_connections_ends_at_the_breaker(scripted: Make) -> None:
    """After a few refused connections nobody is tried any more: 503 at once, until a probe is due."""
    found = scripted(Rules(64, breaker=Ejection(5, 60.0)), *"abc")
    for server in found.servers:
        server.failure = GONE
    for _ in range(100):
        with pytest.raises(InferenceError) as caught:
            await found.cluster.infer(REQUEST, soon())
        assert ErrorKind.UNAVAILABLE is caught.value.kind
    assert [5, 5, 5] == found.asked
    with pytest.raises(InferenceError) as last:
        await found.cluster.infer(REQUEST, soon())
    assert 3.0 == last.value.retry_after


async def test_an_ejected_endpoint_is_passed_over(scripted: Make) -> None:
    """And asked again once its time is over; a model that fails everywhere is asked everywhere all the same."""
    found = scripted(Rules(64, retry=Retry(2, 1.0), breaker=Ejection(2, 60.0)), "a", "b")
    found.servers[0].failure = failure(ErrorKind.BROKEN)
    for _ in range(20):
        await found.cluster.infer(REQUEST, soon())
    assert 2 == found.servers[0].asked
    found.servers[1].failure = failure(ErrorKind.BROKEN)
    for _ in range(20):
        with pytest.raises(InferenceError):
            await found.cluster.infer(REQUEST, soon())
    assert found.servers[0].asked > 10


async def test_who_cannot_be_reached_is_not_asked_again(scripted: Make) -> None:
    """A retry that has nowhere else to go asks the one that answered something."""
    found = scripted(Rules(64, retry=Retry(3, 1.0)), "a", "b")
    found.servers[0].failure, found.servers[1].failure = GONE, failure(ErrorKind.BROKEN)
    with pytest.raises(InferenceError, match="refused"):
        await found.cluster.infer(REQUEST, soon())
    assert [1, 3] == found.asked


async def test_retries_are_earned(scripted: Make) -> None:
    """By answers: with a budget of a half, two of them for one repetition."""
    found = scripted(Rules(64, retry=Retry(2, 0.5)), "a", "b")
    assert found.cluster.retries is not None
    while found.cluster.retries.take():
        pass
    for _ in range(2):
        await found.cluster.infer(REQUEST, soon())
    found.servers[0].failure = failure(ErrorKind.BROKEN)
    assert "b" == (await found.cluster.infer(REQUEST, soon())).model
    found.cluster._balance._turn = 0
    with pytest.raises(InferenceError):
        await found.cluster.infer(REQUEST, soon())


async def test_a_probe_that_nobody_waits_for_any_more(scripted: Make) -> None:
    """Gives its permit back: the next question is the probe."""
    found = scripted(Rules(64, breaker=Ejection(1, 0.0)), "a")
    found.servers[0].failure = GONE
    with pytest.raises(InferenceError):
        await found.cluster.infer(REQUEST, soon())
    found.servers[0].failure, found.servers[0].gate = None, asyncio.Event()
    probe = asyncio.create_task(found.cluster.infer(REQUEST, soon()))
    await asyncio.sleep(0)
    with pytest.raises(InferenceError, match="can be reached"):
        await found.cluster.infer(REQUEST, soon())
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    found.servers[0].gate = None
    assert "a" == (await found.cluster.infer(REQUEST, soon())).model


async def test_an_endpoint_that_comes_back_begins_slowly(scripted: Make) -> None:
    """It gets a little of its share at first."""
    found = scripted(Rules(64), "a", "b", chance=0.5)
    found.cluster.endpoints[0].seen(False, frozenset(), monotonic())
    found.cluster.endpoints[0].seen(True, frozenset(), monotonic())
    for _ in range(20):
        await found.cluster.infer(REQUEST, soon())
    assert [0, 20] == found.asked


KINDS = st.sampled_from([None, *ErrorKind])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([0.001, 5.0])),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("script"), st.tuples(st.integers(0, 2), KINDS)),
        st.tuples(st.just("gate"), st.integers(0, 2)),
        st.tuples(st.just("open"), st.integers(0, 2)),
        st.tuples(st.just("check"), st.tuples(st.integers(0, 2), st.booleans())),
        st.tuples(st.just("late"), st.integers(0, 30)),
    ),
    max_size=40,
)


class Story:
    """A cluster of three to which things happen in any order."""

    def __init__(self) -> None:
        rules = Rules(16, Retry(3, 0.1), Hedge(0.5, 0.1), Ejection(2, 0.0))
        self.found = make(rules, *"abc")
        self.asks: list[asyncio.Task[Any]] = []
        self.offered = 0

    async def step(self, what: str, which: Any) -> None:
        """One thing happens, and everybody goes on as far as they can."""
        servers = self.found.servers
        match what:
            case "ask":
                self.offered += 1
                self.asks.append(asyncio.create_task(self.found.cluster.infer(REQUEST, soon(which))))
            case "cancel" if which < len(self.asks):
                self.asks[which].cancel()
            case "script":
                index, kind = which
                servers[index].failure = None if kind is None else InferenceError(kind, "no", retryable=True)
            case "gate":
                servers[which].gate = servers[which].gate or asyncio.Event()
            case "open":
                self.open(which)
            case "check":
                self.found.cluster.endpoints[which[0]].seen(which[1], frozenset(), monotonic())
            case "late":  # what the clock would do
                for attempt in list(self.found.cluster.alarms._at)[which:]:
                    attempt.expire()
        for _ in range(5):
            await asyncio.sleep(0)

    def open(self, index: int) -> None:
        """Whoever waits there goes on."""
        gate, self.found.servers[index].gate = self.found.servers[index].gate, None
        if gate is not None:
            gate.set()

    async def end(self) -> None:
        """Everybody has had an answer, a failure, or was cancelled; fails where somebody is left waiting."""
        for index in range(3):
            self.open(index)
        async with asyncio.timeout(5):
            for told in await asyncio.gather(*self.asks, return_exceptions=True):
                assert not isinstance(told, BaseException) or isinstance(told, InferenceError | asyncio.CancelledError)
        await until(self.found.idle)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_nothing_is_lost(steps: list[tuple[str, Any]]) -> None:
    """Questions, failures, hangs, checks and cancellations in any order: no place, permit or task stays behind."""

    async def told() -> None:
        story = Story()
        for step in steps:
            await story.step(*step)
        await story.end()
        assert not story.found.cluster.alarms._at
        assert {asyncio.current_task()} == asyncio.all_tasks()
        for endpoint in story.found.cluster.endpoints:
            assert not endpoint._server.probing
            assert not any(breaker.probing for breaker in endpoint._models.values())
        assert len(story.found.repeats) <= 2 * (0.1 * story.offered + 10)

    asyncio.run(told())
