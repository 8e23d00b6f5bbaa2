"""Streams from the cache: all of one that came whole, in order; nothing of one that did not; no answer waits for the noting."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor, from_array
from policies.call import Answer, Call, Share
from policies.keeping import Around
from policies.local_store import LocalStore
from policies.stream_cache import MOST_ANSWERS, MOST_AT_ONCE, MOST_BYTES, StreamCachePolicy
from routing.cache.caching import Caching, Purge
from routing.cache.key import Keys
from routing.cache.worth import WINDOW
from routing.match import Question

MakeCall = Callable[..., Call]
AWAY = InferenceError(ErrorKind.UNAVAILABLE, "away", reason="away")


class Unreadable:
    """A payload that turns out to be broken when it is looked at."""

    def tensors(self) -> tuple[Tensor, ...]:
        raise InferenceError(ErrorKind.BROKEN, "unreadable")


class Setting:
    """A cache before a backend whose every stream tells the turn and its own place; `fails` after so many answers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[Call] = []
        self.told: list[str] = []
        self.work: list[Coroutine[Any, Any, None]] = []
        self.answers = 3
        self.fails: int | None = None
        self.error = AWAY
        self.size = 1
        self.unreadable = False
        self.open = 0
        self.store = LocalStore(64 << 20, lambda: self.now)
        around = Around(lambda: self.now, lambda: 0.0, lambda work, _: self.work.append(work))
        self.served: tuple[str, ...] = ()
        keys = Keys(b"k" * 32, lambda _: self.served)
        self.policy = StreamCachePolicy(self.store, keys, lambda _, result: self.told.append(result), around)

    async def backend(self, call: Call) -> AsyncGenerator[Answer, None]:
        self.calls.append(call)
        turn = len(self.calls)
        self.open += 1
        try:
            for place in range(self.answers):
                if place == self.fails:
                    raise self.error
                numbers = np.array([turn, place, *[0] * (self.size - 1)])
                payload = Unreadable() if self.unreadable else Tensors((from_array("n", "INT64", numbers),))
                response = InferenceResponse("m", "1", "theirs", {"place": place}, payload)
                yield Answer(response, (Share("fast", 1, "m", "1"),), 0.0 if place else 2.0, 0.25 * (place + 1))
            if self.fails == self.answers:
                raise self.error
        finally:
            self.open -= 1

    async def ask(self, call: Call, leave: int | None = None) -> list[Answer]:
        """What came until the end; or until the client left after so many."""
        found = list[Answer]()
        async with aclosing(self.policy(call, self.backend)) as answers:
            async for answer in answers:
                found.append(answer)
                if len(found) == leave:
                    break
        return found


@pytest.fixture
def setting() -> Setting:
    return Setting()


@pytest.fixture
def question(make_call: MakeCall) -> Call:
    call = make_call(2)
    return replace(call, plan=replace(call.plan, cache=Caching(60.0, b"e")), target=call.plan.stages[0].target)


def caching(call: Call, **given: Any) -> Call:
    return replace(call, plan=replace(call.plan, cache=Caching(**{"ttl": 60.0, "epoch": b"e", **given})))


def wishing(call: Call, control: str) -> Call:
    return replace(call, question=Question(call.principal, {"cache-control": control}, 1, {}, "", "r"))


def said(found: Sequence[Answer]) -> list[list[int]]:
    return [each.response.payload.tensors()[0].array().tolist()[:2] for each in found]


def statuses(found: Sequence[Answer]) -> list[str | None]:
    return [None if each.cached is None else each.cached.status for each in found]


async def test_a_stream_is_given_again_as_a_stream(setting: Setting, question: Call) -> None:
    """All its answers in their order, with their parameters and who gave them; they cost nothing and take no backend's time."""
    first, second = await setting.ask(question), await setting.ask(question)
    assert ([[1, 0], [1, 1], [1, 2]], 1) == (said(first), len(setting.calls))
    assert said(first) == said(second)
    assert [{"place": 0}, {"place": 1}, {"place": 2}] == [each.response.parameters for each in second]
    assert [(0.0, 0.0, first[0].shares)] * 3 == [(each.cost, each.backend_seconds, each.shares) for each in second]
    assert (["miss", None, None], ["hit", None, None]) == (statuses(first), statuses(second))
    assert ["miss", "hit"] == setting.told
    assert second[0].cached is not None
    assert 60.0 == second[0].cached.ttl


async def test_nothing_of_the_client_goes_down_or_is_kept(setting: Setting, question: Call) -> None:
    """Neither its id nor the form of its tensors; nor is the backend's id given to another."""
    await setting.ask(question)
    assert ("", Tensors) == (setting.calls[0].request.id, type(setting.calls[0].request.payload))
    assert {""} == {each.response.id for each in await setting.ask(question)}


@pytest.mark.parametrize("leave", [1, 2, 3])
async def test_a_client_that_leaves_has_nothing_kept(setting: Setting, question: Call, leave: int) -> None:
    """Also after the last answer: nobody knows yet that it was the last. The backend is let go at once."""
    await setting.ask(question, leave)
    assert (0, 0) == (setting.open, setting.store.size)
    assert [2, 0] == said(await setting.ask(question))[0]


@pytest.mark.parametrize("fails", [0, 1, 3])
@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.DEADLINE, ErrorKind.INVALID])
async def test_a_stream_that_fails_is_not_kept(setting: Setting, question: Call, fails: int, kind: ErrorKind) -> None:
    """Before its first answer, in the middle, or after the last."""
    setting.fails, setting.error = fails, InferenceError(kind, "broken")
    with pytest.raises(InferenceError, match="broken"):
        await setting.ask(question)
    assert 0 == setting.store.size
    assert ["miss"] * (fails > 0) == setting.told


async def test_a_stream_of_a_version_that_nobody_has_seen_is_not_kept(setting: Setting, question: Call) -> None:
    """It was loaded since the backend was last looked at, and may be gone again."""
    setting.served = ("2",)
    assert [["miss", None, None]] * 2 == [statuses(await setting.ask(question)) for _ in range(2)]
    setting.served = ("1",)
    assert ["miss", "hit"] == [statuses(await setting.ask(question))[0] for _ in range(2)]


async def test_a_stream_without_answers_is_not_kept(setting: Setting, question: Call) -> None:
    """Nobody has answered."""
    setting.answers = 0
    assert ([], []) == (await setting.ask(question), await setting.ask(question))
    assert 2 == len(setting.calls)


@pytest.mark.parametrize(("answers", "size"), [(MOST_ANSWERS + 1, 1), (3, MOST_BYTES // 24)])
async def test_what_is_too_much_is_passed_on_and_not_held(setting: Setting, question: Call, answers: int, size: int) -> None:
    """The client has all of it."""
    setting.answers, setting.size = answers, size
    assert answers == len(await setting.ask(question))
    assert 0 == setting.store.size


@pytest.mark.parametrize("leave", [None, 2])
async def test_all_streams_together_are_bounded(setting: Setting, question: Call, leave: int | None) -> None:
    """What there is no room for is passed on, and not kept; what ended or was left makes room again."""
    setting.policy._noted = MOST_AT_ONCE - 2000  # others', less than two answers
    assert (leave or 3) == len(await setting.ask(question, leave))
    assert (MOST_AT_ONCE - 2000, 0) == (setting.policy._noted, setting.store.size)
    setting.policy._noted = 0
    async with aclosing(setting.policy(question, setting.backend)) as answers:
        await anext(answers)
        await anext(answers)
        assert setting.policy._noted > 0
    assert 0 == setting.policy._noted
    await setting.ask(question)
    assert "hit" == statuses(await setting.ask(question))[0]
    assert 0 == setting.policy._noted


async def test_as_many_as_may_be_are_kept(setting: Setting, question: Call) -> None:
    """The bound itself."""
    setting.answers = MOST_ANSWERS
    assert said(await setting.ask(question)) == said(await setting.ask(question))
    assert 1 == len(setting.calls)


async def test_what_cannot_be_read_is_passed_on_and_not_kept(setting: Setting, question: Call) -> None:
    """Whether it can is the client's to find out, as without a cache."""
    setting.unreadable = True
    assert (3, 0) == (len(await setting.ask(question)), setting.store.size)


async def test_answers_pass_before_they_are_noted(setting: Setting, question: Call) -> None:
    """An answer is read for the cache only when its client has it."""

    class Watched:
        looked = 0

        def tensors(self) -> tuple[Tensor, ...]:
            self.looked += 1
            return ()

    payloads = [Watched(), Watched()]

    async def backend(call: Call) -> AsyncGenerator[Answer, None]:
        for payload in payloads:
            yield Answer(InferenceResponse("m", "1", "", {}, payload), (Share("fast", 1, "m", "1"),), 1.0, 0.1)

    async with aclosing(setting.policy(question, backend)) as answers:
        await anext(answers)
        assert 0 == payloads[0].looked
        await anext(answers)
        assert (True, 0) == (payloads[0].looked > 0, payloads[1].looked)


async def test_clients_may_do_without(setting: Setting, question: Call) -> None:
    """`no-cache` asks anew and keeps, `no-store` does neither."""
    await setting.ask(question)
    assert [2, 0] == said(await setting.ask(wishing(question, "no-cache")))[0]
    assert [3, 0] == said(await setting.ask(wishing(question, "No-Store, max-age=0")))[0]
    assert [2, 0] == said(await setting.ask(question))[0]
    assert ["miss", "request", "request", "hit"] == setting.told


async def test_what_has_no_key_passes_by(setting: Setting, question: Call) -> None:
    """Of a sequence, or of a model without a cache."""
    of_sequence = replace(question, request=replace(question.request, parameters={"sequence_id": 7}))
    await setting.ask(of_sequence)
    assert ["bypass", None, None] == statuses(await setting.ask(of_sequence))
    without = replace(question, plan=replace(question.plan, cache=None))
    assert [None] * 3 == statuses(await setting.ask(without))
    assert (3, ["bypass", "bypass"]) == (len(setting.calls), setting.told)


async def test_an_answer_and_a_stream_are_two_things(setting: Setting, question: Call) -> None:
    """The same question has another key for each."""
    keys = Keys(b"k" * 32, lambda _: ())
    asked = (question.plan, question.principal, question.model, question.request)
    assert keys.whole(*asked) != keys.stream(*asked)
    assert keys.stream(*asked) != keys.stream(*asked[:3], replace(question.request, parameters={"seed": 1}))


async def test_a_purge_throws_streams_away(setting: Setting, question: Call) -> None:
    """By the public model, the variant and the version that answered; also one that is on its way."""
    for which in (Purge(model="digits"), Purge(variant="fast"), Purge(version="1"), Purge()):
        await setting.ask(question)
        setting.store.purge(which, setting.now)
        setting.now += 1
        before = len(setting.calls)
        await setting.ask(question)
        assert before + 1 == len(setting.calls), which
    setting.store.purge(Purge(), setting.now)
    setting.now += 1
    async with aclosing(setting.policy(question, setting.backend)) as answers:
        await anext(answers)
        setting.store.purge(Purge(), setting.now)
        assert 2 == len([each async for each in answers])
    assert "miss" == statuses(await setting.ask(question))[0]


async def test_its_time_ends(setting: Setting, question: Call) -> None:
    """After the time to live it is asked for anew."""
    await setting.ask(question)
    setting.now += 59
    assert "hit" == statuses(await setting.ask(question))[0]
    setting.now += 1
    assert "miss" == statuses(await setting.ask(question))[0]


async def test_a_stale_stream_is_given_while_it_is_asked_for_anew(setting: Setting, question: Call) -> None:
    """Once, in the background; a renewal that fails is tried again with the next question."""
    question = caching(question, stale_while_revalidate=60.0)
    await setting.ask(question)
    setting.now += 61
    assert [["stale", None, None]] * 2 == [statuses(await setting.ask(question)) for _ in range(2)]
    assert 1 == len(setting.work)
    setting.fails = 1
    await setting.work.pop()
    await setting.ask(question)
    setting.fails = None
    await setting.work.pop()
    found = await setting.ask(question)
    assert ([3, 0], "hit") == (said(found)[0], statuses(found)[0])
    assert ["miss", "stale", "stale", "stale", "hit"] == setting.told


async def test_with_too_much_in_the_background_nothing_is_renewed(question: Call) -> None:
    """A stale stream is given all the same, and the next question tries again."""
    setting = Setting()

    def full(work: Coroutine[Any, Any, None], _: str) -> None:
        work.close()
        raise RuntimeError

    around, keys = Around(lambda: setting.now, lambda: 0.0, full), Keys(b"k" * 32, lambda _: ())
    setting.policy = StreamCachePolicy(setting.store, keys, lambda *_: None, around)
    question = caching(question, stale_while_revalidate=60.0)
    await setting.ask(question)
    setting.now += 61
    assert ["stale", "stale"] == [statuses(await setting.ask(question))[0] for _ in range(2)]


async def test_a_stale_stream_is_better_than_none(setting: Setting, question: Call) -> None:
    """In place of a failure before the first answer; not of the client's own mistake, nor of one in the middle."""
    question = caching(question, stale_if_error=60.0)
    await setting.ask(question)
    setting.now += 61
    setting.fails = 0
    found = await setting.ask(question)
    assert ([1, 0], ["stale", None, None]) == (said(found)[0], statuses(found))
    assert found[0].cached is not None
    assert (-1.0, "away") == (found[0].cached.ttl, found[0].cached.detail)
    setting.fails = 1
    with pytest.raises(InferenceError):
        await setting.ask(question)
    setting.fails, setting.error = 0, InferenceError(ErrorKind.INVALID, "wrong")
    with pytest.raises(InferenceError):
        await setting.ask(question)
    setting.now, setting.error = setting.now + 60, AWAY
    with pytest.raises(InferenceError):
        await setting.ask(question)


async def test_a_stream_that_is_thrown_away_meanwhile_stands_in_for_nothing(setting: Setting, question: Call) -> None:
    """Whoever had found it before the purge hears of the failure."""
    await setting.ask(question := caching(question, stale_if_error=60.0))
    setting.now, setting.fails = setting.now + 61, 0

    def purged(call: Call) -> AsyncGenerator[Answer, None]:
        setting.store.purge(Purge(), setting.now)
        return setting.backend(call)

    with pytest.raises(InferenceError):
        await anext(setting.policy(question, purged))


async def test_a_cache_that_gains_nothing_is_off(question: Call) -> None:
    """As for single answers: a window of streams that are never found again."""
    setting = Setting()

    def clock() -> float:
        setting.now += 0.001
        return setting.now

    around, keys = Around(clock, lambda: 0.0, lambda *_: None), Keys(b"k" * 32, lambda _: ())
    setting.policy = StreamCachePolicy(setting.store, keys, lambda *_: None, around)
    setting.answers = 0
    for _ in range(WINDOW):
        await setting.ask(question)
    setting.answers = 1
    found = (await setting.ask(question))[0].cached
    assert found is not None
    assert ("off", "no-gain") == (found.status, found.detail)


STREAMS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which question
        st.integers(0, 5),  # answers
        st.none() | st.integers(0, 5),  # fails after
        st.none() | st.integers(1, 5),  # the client leaves after
        st.sampled_from((0.0, 0.0, 20.0, 61.0)),  # seconds pass
    ),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # which is frozen
@given(asked=STREAMS)
async def test_what_is_found_is_a_whole_stream_of_the_same_question(question: Call, asked: list[tuple[Any, ...]]) -> None:
    """Whatever came before: lengths, failures, clients that leave, time."""
    setting, whole = Setting(), dict[int, tuple[float, list[list[int]]]]()
    for which, setting.answers, setting.fails, leave, seconds in asked:
        setting.now += seconds
        call = replace(question, request=replace(question.request, parameters={"which": which}))
        before, found = len(setting.calls), list[Answer]()
        try:
            found = await setting.ask(call, leave)
        except InferenceError:
            continue
        finally:
            assert 0 == setting.open
        if before == len(setting.calls):
            until, kept = whole[which]
            assert setting.now < until
            assert kept[:leave] == said(found)
        elif (leave is None and setting.answers) or (leave is not None and 0 < setting.answers < leave):
            whole[which] = (setting.now + 60.0, said(found))
