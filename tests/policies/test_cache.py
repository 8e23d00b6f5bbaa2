"""The cache's layer with a fake below it: what is looked up, what goes down, what is kept, and what comes together again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, RequestedOutput, Tensors
from backends.protocols.v2_http_request import HttpQuestion
from backends.tensors import BYTES, Tensor, from_array, pack_bytes
from policies.cache import MOST_ROWS, CachePolicy
from policies.call import Answer, Cached, Call, Kept, Share
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.cache.caching import Caching, Purge
from routing.cache.key import Keys
from routing.cache.worth import WINDOW
from routing.match import Question

MakeCall = Callable[..., Call]


class Setting:
    """A cache in front of a backend that tells each row's number, the turn, and a text of that length."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[list[int]] = []
        self.calls: list[Call] = []
        self.told: list[str] = []
        self.work: list[Coroutine[Any, Any, None]] = []
        self.error: InferenceError | None = None
        self.planned = True
        self.tick = 0.0
        self.store = LocalStore(1 << 20, lambda: self.now)
        keys = Keys(b"k" * 32, lambda _: ())
        around = Around(self.clock, lambda: 0.0, lambda work, _: self.work.append(work))
        self.policy = CachePolicy(self.store, keys, lambda _, result: self.told.append(result), around)

    def clock(self) -> float:
        self.now += self.tick
        return self.now

    async def backend(self, call: Call) -> Answer:
        (x,) = call.request.payload.tensors()
        rows = x.array()[:, 0].astype(int).tolist()
        self.asked.append(rows)
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        return replace(answer(rows, len(self.asked)), planned=self.planned)

    async def ask(self, call: Call) -> Answer:
        return await self.policy(call, self.backend)


def answer(rows: Sequence[int], turn: int) -> Answer:
    texts = Tensor("text", BYTES, (len(rows), 2), pack_bytes(each for row in rows for each in (b"t" * row, b"")))
    outputs = (
        from_array("row", "INT64", np.array(rows)),
        from_array("turn", "FP64", np.array([[turn, row / 3] for row in rows])),
        texts,
    )
    response = InferenceResponse("m", "1", "theirs", {}, Tensors(outputs))
    return Answer(response, (Share("fast", len(rows), "m", "1"),), 2.0 * len(rows), 0.25)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def question(make_call: MakeCall, values: Sequence[int], **caching: Any) -> Call:
    call = make_call(len(values))
    tensors = (from_array("x", "FP32", np.array(values)[:, None]),)
    cache = Caching(**{"ttl": 60.0, "epoch": b"e", **caching})
    return replace(call, request=replace(call.request, payload=Tensors(tensors)), plan=replace(call.plan, cache=cache))


def coming_again(call: Call) -> Call:
    (held,) = call.request.payload.tensors()
    again = HttpQuestion(b"", (held.data,), call.request.inputs, {}, (held,), derived={})
    return replace(call, request=replace(call.request, payload=again))


def wishing(call: Call, control: str) -> Call:
    asked = Question(call.principal, {"cache-control": control}, call.request.rows, {}, "", "r")
    return replace(call, question=asked)


def outputs(found: Answer) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    return [(each.name, each.datatype, each.shape, bytes(each.data)) for each in found.response.payload.tensors()]


def status(found: Answer) -> str:
    assert found.cached is not None
    return found.cached.status


@pytest.mark.parametrize("rows", [False, True])
async def test_a_hit_is_the_answer_bit_for_bit(setting: Setting, make_call: MakeCall, rows: bool) -> None:
    """It costs nothing and takes no backend's time; shares are those who gave it. Texts are found again, too."""
    call = question(make_call, [3, 1, 2], rows=rows)
    first, second = await setting.ask(call), await setting.ask(call)
    assert ([[3, 1, 2]], ["miss", "hit"]) == (setting.asked, setting.told)
    assert outputs(answer([3, 1, 2], 1)) == outputs(first) == outputs(second)
    assert ((0.0, 0.0), first.shares) == ((second.cost, second.backend_seconds), second.shares)
    assert (6.0, 0.25) == (first.cost, first.backend_seconds)


async def test_what_goes_down_is_nobodys(setting: Setting, make_call: MakeCall) -> None:
    """Neither the client's id nor its form goes to where others wait as well; the answer loses the backend's id."""
    found = await setting.ask(question(make_call, [1]))
    assert ("", Tensors) == (setting.calls[0].request.id, type(setting.calls[0].request.payload))
    assert (40, "") == (len(setting.calls[0].key), found.response.id)


async def test_rows_come_together_in_place(setting: Setting, make_call: MakeCall) -> None:
    """From two asks and from one that is made now, repeated rows and all; every row as it was when it was asked."""
    await setting.ask(question(make_call, [5, 2], rows=True))
    await setting.ask(question(make_call, [7], rows=True))
    found = await setting.ask(question(make_call, [7, 9, 2, 9, 5, 4], rows=True))
    assert [[5, 2], [7], [9, 9, 4]] == setting.asked
    row, turn, text = (each.array() for each in found.response.payload.tensors())
    assert [7, 9, 2, 9, 5, 4] == row.tolist()
    assert [2, 3, 1, 3, 1, 3] == turn[:, 0].tolist()
    assert [b"t" * each for each in (7, 9, 2, 9, 5, 4)] == text[:, 0].tolist()
    assert ("partial", 6.0) == (status(found), found.cost)
    assert (Share("fast", 6, "m", "1"),) == found.shares
    assert found.cached is not None
    assert "3 of 6 rows" == found.cached.detail


async def test_a_batch_that_comes_again_is_what_its_rows_are_now(setting: Setting, make_call: MakeCall) -> None:
    """Put together once as long as no row's entry is another; then anew, with what is kept of each row by then."""
    call = coming_again(question(make_call, [1, 2, 3], rows=True))
    await setting.ask(call)
    second, third = await setting.ask(call), await setting.ask(call)
    assert second.response is third.response
    assert outputs(answer([1, 2, 3], 1)) == outputs(third)
    setting.store.purge(Purge(), setting.now)
    setting.now += 1
    await setting.ask(question(make_call, [2], rows=True))
    partial, whole = await setting.ask(call), await setting.ask(call)
    assert ("partial", "hit") == (status(partial), status(whole))
    assert [3, 2, 3] == [int(turn) for turn in whole.response.payload.tensors()[1].array()[:, 0]]
    assert outputs(partial) == outputs(whole) != outputs(third)


async def test_a_long_answer_is_put_together_each_time(setting: Setting, make_call: MakeCall) -> None:
    """What is remembered of a question that comes again is little: the store's bound does not count it."""
    call = coming_again(question(make_call, [9000], rows=True))
    _, one, two = [await setting.ask(call) for _ in range(3)]
    assert ("hit", True) == (status(two), one.response is not two.response)


async def test_a_purge_parts_those_in_flight(setting: Setting, make_call: MakeCall) -> None:
    """Who asks after it does not wait for what was asked before it."""
    call = question(make_call, [1])
    await setting.ask(call)
    setting.store.purge(Purge(), setting.now)
    await setting.ask(call)
    assert 2 == len({each.key for each in setting.calls})


async def test_large_batches_are_whole(setting: Setting, make_call: MakeCall) -> None:
    """More rows than can be looked up without holding others up."""
    many = [1] * (MOST_ROWS + 1)
    await setting.ask(question(make_call, many, rows=True))
    assert "miss" == status(await setting.ask(question(make_call, [1], rows=True)))
    assert "hit" == status(await setting.ask(question(make_call, many, rows=True)))
    assert 2 == len(setting.store._kept)


async def test_what_is_not_as_planned_is_not_kept(setting: Setting, make_call: MakeCall) -> None:
    """The answer of whoever stood in, or without a stage, is given once."""
    setting.planned = False
    for rows in (False, True):
        call = question(make_call, [1], rows=rows)
        assert [False, False] == [(await setting.ask(call)).cached.stored for _ in range(2)]  # type: ignore[union-attr]
    assert 4 == len(setting.asked)


async def test_answers_end(setting: Setting, make_call: MakeCall) -> None:
    """After their time to live, less up to a tenth by chance, they are asked for anew."""
    call = question(make_call, [1])
    await setting.ask(call)
    setting.now = 159.9
    found = await setting.ask(call)
    assert "hit" == status(found)
    setting.now = 160.0
    assert "miss" == status(await setting.ask(call))


async def test_stale_while_revalidate(setting: Setting, make_call: MakeCall) -> None:
    """The stale answer at once; the new one in the background, one at a time, also row by row: only what is stale."""
    await setting.ask(question(make_call, [1], rows=True, stale_while_revalidate=30.0))
    setting.now = 120.0
    await setting.ask(question(make_call, [2], rows=True, stale_while_revalidate=30.0))
    setting.now = 161.0
    both = question(make_call, [1, 2], rows=True, stale_while_revalidate=30.0)
    assert ["stale", "stale"] == [status(await setting.ask(both)) for _ in range(2)]
    assert (2, 1) == (len(setting.asked), len(setting.work))
    await setting.work.pop()
    assert [1] == setting.asked[-1]
    assert "hit" == status(await setting.ask(both))
    assert ["miss", "miss", "stale", "stale", "hit"] == setting.told
    setting.now = 300.0
    assert "miss" == status(await setting.ask(both))


async def test_stale_if_error(setting: Setting, make_call: MakeCall) -> None:
    """A failure of ours or of backends, not a mistake of the client's, within its time."""
    call = question(make_call, [1], stale_if_error=30.0)
    await setting.ask(call)
    setting.now = 161.0
    setting.error = InferenceError(ErrorKind.UNAVAILABLE, "away")
    found = await setting.ask(call)
    assert ("stale", outputs(answer([1], 1))) == (status(found), outputs(found))
    for kind, now in ((ErrorKind.INVALID, 161.0), (ErrorKind.UNAVAILABLE, 190.0)):
        setting.now, setting.error = now, InferenceError(kind, "no")
        with pytest.raises(InferenceError):
            await setting.ask(call)


async def test_clients_wishes(setting: Setting, make_call: MakeCall) -> None:
    """`no-store` passes by; `no-cache` asks on its own, not with others who may have asked before, and is kept."""
    call = question(make_call, [1])
    await setting.ask(wishing(call, "no-store"))
    await setting.ask(call)
    await setting.ask(wishing(call, "max-age=0, No-Cache"))
    assert [b"", 40, b""] == [each.key and len(each.key) for each in setting.calls]
    assert "q" == setting.calls[0].request.id
    assert ["request", "miss", "request"] == setting.told
    assert outputs(answer([1], 3)) == outputs(await setting.ask(call))


async def test_what_has_no_key_passes(setting: Setting, make_call: MakeCall) -> None:
    """A sequence's question is asked as it is, every time."""
    call = question(make_call, [1])
    call = replace(call, request=replace(call.request, parameters={"sequence_id": 1}))
    assert ["bypass", "bypass"] == [status(await setting.ask(call)) for _ in range(2)]
    assert [b"", b""] == [each.key for each in setting.calls]


async def test_a_value_must_say_that_it_belongs_to_its_key(setting: Setting, make_call: MakeCall) -> None:
    """A store that mixes up its entries gives nobody another's answer: it has found nothing."""
    await setting.ask(question(make_call, [1]))
    (mine,) = list(setting.store._kept)
    await setting.ask(question(make_call, [2]))
    (other,) = [key for key in setting.store._kept if key != mine]
    value = setting.store._kept.get(other)
    assert value is not None
    setting.store._kept.put(mine, value, 100)
    found = await setting.ask(question(make_call, [1]))
    assert ("miss", outputs(answer([1], 3))) == (status(found), outputs(found))


async def test_what_gains_nothing_is_turned_off(setting: Setting, make_call: MakeCall) -> None:
    """After a window of questions that are all new the cache is passed by for a while; a hit would have kept it on."""
    setting.tick = 1e-6
    for number in range(WINDOW):
        await setting.ask(question(make_call, [number]))
    found = await setting.ask(question(make_call, [0]))
    assert ("off", "off", b"") == (status(found), setting.told[-1], setting.calls[-1].key)
    setting.now += 10.0
    assert "hit" == status(await setting.ask(question(make_call, [WINDOW - 1])))


async def test_rows_that_cannot_be_told_apart_are_not_kept(setting: Setting, make_call: MakeCall) -> None:
    """An output without a row for each row, parameters of the whole answer, several variants and nobody knows who gave which."""
    call = question(make_call, [1, 2], rows=True)
    plain = answer([1, 2], 1)
    odd = replace(plain.response, payload=Tensors((from_array("mean", "FP64", np.array([1.5])),)))
    for below in (
        replace(plain, response=odd),
        replace(plain, response=replace(plain.response, parameters={"batch": 2})),
        replace(plain, shares=(Share("fast", 1, "m", "1"), Share("dear", 1, "d", "1"))),
    ):
        found = await setting.policy(call, answering(below))
        assert (outputs(below), False) == (outputs(found), found.cached.stored)  # type: ignore[union-attr]


async def test_rows_that_do_not_fit_together_are_asked_together(setting: Setting, make_call: MakeCall) -> None:
    """A model whose outputs have another shape for another batch: the whole question goes down, past the cache."""
    await setting.ask(question(make_call, [1], rows=True))
    call = question(make_call, [1, 2], rows=True)
    wide = replace(
        answer([2], 1), response=InferenceResponse("m", "1", "", {}, Tensors((from_array("row", "INT64", np.array([[2, 2]])),)))
    )
    asked: list[Call] = []

    async def below(call: Call) -> Answer:
        asked.append(call)
        return wide if len(asked) == 1 else answer([1, 2], 9)

    found = await setting.policy(call, below)
    assert (["bypass"], 2, outputs(answer([1, 2], 9))) == ([status(found)], len(asked), outputs(found))
    await setting.policy(question(make_call, [2], rows=True), answering(wide))
    assert "bypass" == status(await setting.policy(call, answering(answer([1, 2], 9))))


async def test_rows_of_several_variants(setting: Setting, make_call: MakeCall) -> None:
    """Each row keeps its own; the answer says as many as a cascade would, and how far up it went."""
    stages = (("fast", 0.9), ("mid", 0.9), ("dear", None))
    call = question(make_call, [1, 2, 3], rows=True)
    plan = replace(make_call(3, stages=stages).plan, cache=call.plan.cache)
    call = replace(call, plan=plan)
    shares = (Share("fast", 2, "f", "1"), Share("mid", 1, "m", "2"))
    below = replace(answer([1, 2, 3], 1), shares=shares, owners=(0, 1, 0), escalation="fast→mid")
    await setting.policy(call, answering(below))
    found = await setting.policy(call, setting.backend)
    assert ("hit", shares, "fast→mid") == (status(found), found.shares, found.escalation)
    alone = await setting.policy(replace(question(make_call, [3, 1], rows=True), plan=plan), setting.backend)
    assert ((Share("fast", 2, "f", "1"),), "none", "1") == (alone.shares, alone.escalation, alone.response.version)


async def test_outputs_without_rows_are_whole(setting: Setting, make_call: MakeCall) -> None:
    """Questions without rows are kept whole even with `rows: true`."""
    call = question(make_call, [1], rows=True)
    scalar = Tensor("x", "FP32", (), b"\x00\x00\x80\x3f")
    call = replace(call, request=replace(call.request, inputs=(), payload=Tensors((scalar,)), outputs=(RequestedOutput("row"),)))
    first = await setting.policy(call, answering(answer([1], 1)))
    assert ("miss", "hit") == (status(first), status(await setting.policy(call, answering(answer([1], 2)))))


async def test_a_store_may_take_its_time(setting: Setting, make_call: MakeCall) -> None:
    """What is shared with others is waited for."""

    class Slow(LocalStore):
        async def find(self, keys: Sequence[bytes]) -> Sequence[Kept | None]:  # type: ignore[override]
            return super().find(keys)

    slow = Slow(1 << 20, lambda: 100.0)
    policy = CachePolicy(slow, Keys(b"k" * 32, lambda _: ()), lambda *_: None, Around(lambda: 100.0, lambda: 0.0, setting.policy))  # type: ignore[arg-type]
    call = coming_again(question(make_call, [1]))
    found = [(await policy(call, setting.backend)).cached for _ in range(2)]
    assert [Cached("miss", stored=True), Cached("hit", 60.0)] == found  # and nobody says that nothing has changed meanwhile


def answering(found: Answer) -> Callable[[Call], Coroutine[Any, Any, Answer]]:
    async def ask(call: Call) -> Answer:
        return found

    return ask


@pytest.mark.parametrize("rows", [False, True])
async def test_what_another_process_has_kept_meanwhile(setting: Setting, make_call: MakeCall, rows: bool) -> None:
    """Whoever waited for its flight finds it by `again`: as if collapsed, at no cost, and not kept for longer by that."""
    call = question(make_call, [3, 1], rows=rows)

    async def waiting(below: Call) -> Answer:
        assert below.again is not None
        assert None is await below.again()
        await setting.policy(call, setting.backend)  # as the other process does
        setting.now += 10
        found = await below.again()
        assert found is not None
        return found

    found = await setting.policy(call, waiting)
    assert found.cached is not None
    assert ("miss", True, False) == (found.cached.status, found.cached.collapsed, found.cached.stored)
    assert ([[3, 1]], 0.0, 10.0) == (setting.asked, found.cost, found.backend_seconds)
    assert outputs(answer([3, 1], 1)) == outputs(found)
    hit = (await setting.ask(call)).cached
    assert hit is not None
    assert ("hit", 50.0) == (hit.status, hit.ttl)


async def test_rows_that_another_process_has_kept_meanwhile(setting: Setting, make_call: MakeCall) -> None:
    """All that are missing, or none; each keeps its variant, also where several gave them."""
    await setting.ask(question(make_call, [7], rows=True))
    call = question(make_call, [1, 7, 2], rows=True)
    variants = iter(("fast", "dear"))

    async def elsewhere(below: Call) -> Answer:
        found = await setting.backend(below)
        return replace(found, shares=(replace(found.shares[0], variant=next(variants)),))

    async def waiting(below: Call) -> Answer:
        assert below.again is not None
        await setting.policy(question(make_call, [1], rows=True), elsewhere)
        assert None is await below.again()
        await setting.policy(question(make_call, [2], rows=True), elsewhere)
        found = await below.again()
        assert found is not None
        return found

    found = await setting.policy(call, waiting)
    assert [("fast", 2), ("dear", 1)] == [(share.variant, share.rows) for share in found.shares]
    assert (0.0, [1.0, 7.0, 2.0]) == (found.cost, found.response.payload.tensors()[0].array().tolist())
    assert found.cached is not None
    assert ("partial", True, False) == (found.cached.status, found.cached.collapsed, found.cached.stored)
