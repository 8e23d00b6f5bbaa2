"""What the caches have in common: the client's wishes, and answers and questions without their client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, RequestedOutput, Tensors, TensorSpec
from backends.tensors import Tensor
from policies.call import Answer, Cached, Call, Kept, Share
from policies.keeping import (
    MEASURED,
    Around,
    Found,
    FoundAfar,
    Renewals,
    anonymous,
    apart,
    as_planned,
    complete,
    lasts,
    measured,
    plain,
    sized,
    unlooked,
    wished,
)
from policies.local_store import LocalStore
from policies.stream_cache import StreamCachePolicy
from routing.cache.caching import Caching, Purge
from routing.cache.key import Keys, Made
from routing.cache.worth import Worth
from routing.match import Question
from routing.plan import Plan, Target
from routing.rollout.rolling import Ended


@pytest.mark.parametrize(
    ("said", "wishes"),
    [("", set()), ("no-cache", {"no-cache"}), ("max-age=0 , No-Store", {"max-age", "no-store"}), (",=,", {""})],
)
def test_wishes_are_names(make_call: Callable[..., Call], said: str, wishes: set[str]) -> None:
    """In small letters, without their values; whoever says nothing wishes nothing."""
    call = make_call()
    assert set() == set(wished(call))
    heard = Question(call.principal, {"cache-control": said}, 1, {}, "", "r")
    assert wishes == set(wished(replace(call, question=heard)))


def test_a_question_without_its_client(make_call: Callable[..., Call]) -> None:
    """Its tensors as they are, told anew, and no id."""
    request = make_call(2).request
    (tensor,) = request.payload.tensors()
    found = anonymous(request, (tensor,))
    assert ("", (TensorSpec("x", "FP32", (2, 1)),), (tensor,)) == (found.id, found.inputs, found.payload.tensors())


class Drawn:
    """A side of a rollout that is asked nothing; `open`: the other side has a share, too."""

    def __init__(self, open: bool) -> None:
        self.open = open

    def meets(self, target: Target, plan: Plan) -> bool:
        return False

    def begin(self) -> None: ...

    def end(self, ended: Ended) -> None: ...


def test_who_counts_in_a_rollout_is_drawn_before_anybody_looks(make_call: Callable[..., Call]) -> None:
    """Who passes the cache counts, who is looked up counts on neither side: what a side has kept says nothing of the coin."""
    both, all_ = Drawn(True), Drawn(False)
    call = replace(make_call(), drawn=(both, all_))
    assert (Cached("bypass", detail="rollout"), call) == measured(call, lambda: MEASURED - 0.01)
    past, looked_up = measured(call, lambda: MEASURED)
    assert (None, (all_,)) == (past, looked_up.drawn)
    one = replace(call, drawn=(all_,))  # before any share, and when the candidate has all
    assert (None, one) == measured(one, lambda: 0.0)


async def test_a_stream_that_a_rollout_counts_passes(make_call: Callable[..., Call]) -> None:
    """As an answer does: whatever is kept, which stays."""
    store, keys = LocalStore(1 << 20, lambda: 100.0), Keys(b"k" * 32, lambda _: ())
    policy = StreamCachePolicy(store, keys, lambda *_: None, Around(lambda: 100.0, lambda: 0.0, lambda *_: None))
    call = make_call()
    call = replace(call, plan=replace(call.plan, cache=Caching(60.0, b"e")), target=call.plan.stages[0].target)

    async def below(_: Call) -> AsyncGenerator[Answer, None]:
        yield Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (Share("fast", 1, "m", "1"),), 0.0, 0.0)

    told = []
    for drawn in ((), (Drawn(True),), (Drawn(False),)):
        told += [answer.cached and answer.cached.status async for answer in policy(replace(call, drawn=drawn), below)]
    assert ["miss", "bypass", "hit"] == told


def test_an_answer_without_its_message() -> None:
    """No view of the message that it came in is left, and no id; its size is its bytes and something for each tensor."""
    message = memoryview(b"head12345678tail")
    response = InferenceResponse("m", "1", "id", {"a": 1}, Tensors((Tensor("y", "INT64", (1,), message[4:12]),)))
    found = plain(response)
    (tensor,) = found.payload.tensors()
    assert (bytes, b"12345678", "", {"a": 1}) == (type(tensor.data), tensor.data, found.id, found.parameters)
    assert 8 < sized(found) < 8 + 1000


def test_questions_of_another_haste_are_asked_apart(make_call: Callable[..., Call]) -> None:
    """Triton's queue refuses for `timeout` and `priority`, and what is not to be done twice is not retried: each for its own."""
    request = make_call().request
    others = [
        replace(request, parameters={"timeout": 1}),
        replace(request, parameters={"timeout": 2}),
        replace(request, parameters={"priority": 1}),
        replace(request, parameters={"priority": 1, "timeout": 1}),
        replace(request, headers=(("idempotency-key", "k"),)),
    ]
    assert {b""} == {apart(request), apart(replace(request, parameters={"seed": 1}, headers=(("x-request-id", "r"),)))}
    assert len(others) == len({apart(each) for each in others} - {b""})


@pytest.mark.parametrize(
    ("served", "version", "kept"),
    [("12", "2", True), ("1", "2", False), ("1", "", True), ("", "2", True), (None, "2", True)],
)
def test_another_version_than_the_key_says(make_call: Callable[..., Call], served: str | None, version: str, kept: bool) -> None:
    """It has been loaded since the backend was last looked at; whoever names no versions cannot be caught."""
    call = make_call()
    response = InferenceResponse("m", version, "", {}, Tensors(()))
    answer = Answer(response, (Share("fast", 1, "m", version),), 0.0, 0.0)
    versions = (None if served is None else tuple(served),)
    assert kept is as_planned(answer, call, versions)
    assert not as_planned(replace(answer, planned=False), call, versions)


def test_an_answer_has_what_was_asked_for(make_call: Callable[..., Call]) -> None:
    """All outputs that were named, or any if none was."""
    request = make_call().request
    empty, some = (InferenceResponse("m", "1", "", {}, Tensors(of)) for of in ((), (Tensor("y", "INT8", (1,), b"1"),)))
    named = replace(request, outputs=(RequestedOutput("y"),))
    assert (False, True, True) == (complete(empty, request), complete(some, request), complete(some, named))
    assert not complete(some, replace(request, outputs=(RequestedOutput("y"), RequestedOutput("z"))))


class Shelf:
    """Two entries that were found, and what a further look at them hangs on."""

    def __init__(self, call: Call) -> None:
        self.now, self.told = 100.0, list[tuple[str, str]]()
        self.served: tuple[str, ...] = ("1",)
        self.store, self.worth = LocalStore(1 << 20, lambda: self.now), Worth()
        self.keys = Keys(b"k" * 32, lambda _: self.served)
        self.kept = [self.entry(b"a", 200.0), self.entry(b"b", 150.5)]
        self.store.keep(self.kept, 300.0)
        made = Made(self.keys, call.plan)
        named = tuple(zip((b"a", b"b"), self.kept, strict=True))
        self.found = Found(
            "digits", made, named, 150.5, 0.25, self.store, self.worth, lambda: self.now, lambda *told: self.told.append(told)
        )

    def entry(self, key: bytes, until: float) -> Kept:
        response = InferenceResponse("digits", "1", "", {}, Tensors(()))
        return Kept(key, response, (Share("fast", 1, "m", "1"),), "none", (), 0.125, 99.0, until, "", 700)


def test_what_was_found_is_found_once_more(make_call: Callable[..., Call]) -> None:
    """It counts as the hit that it is: for the metrics and for the cache's worth."""
    shelf = Shelf(make_call())
    assert 50.5 == shelf.found.fresh()
    shelf.now = 150.0
    assert 0.5 == shelf.found.fresh()
    assert [("digits", "hit")] * 2 == shelf.told
    assert (2, 0.5) == (shelf.worth._looks, shelf.worth._saved)


def turned_off(shelf: Shelf) -> None:
    shelf.worth.off_until = 100.5


def over(shelf: Shelf) -> None:
    shelf.now = 150.5


def gone(shelf: Shelf) -> None:
    shelf.store.purge(Purge(), 100.0)


def anew(shelf: Shelf) -> None:
    shelf.store.keep([replace(shelf.kept[1], asked=99.5)], 300.0)


def another_secret(shelf: Shelf) -> None:
    shelf.keys.secret = bytes(bytearray(shelf.keys.secret))  # of the same bytes, which nobody can know of one that came from afar


def another_version(shelf: Shelf) -> None:
    shelf.served = ("1", "2")


@pytest.mark.parametrize("event", [turned_off, over, gone, anew, another_secret, another_version])
def test_what_is_not_as_it_was_is_not_found(make_call: Callable[..., Call], event: Callable[[Shelf], None]) -> None:
    """And nothing is counted: the question is looked up, and counts there."""
    shelf = Shelf(make_call())
    event(shelf)
    assert shelf.found.fresh() is None
    assert ([], 0) == (shelf.told, shelf.worth._looks)


class Elsewhere:
    """Implements policies.keeping.Same."""

    seconds = 0.045

    def __init__(self) -> None:
        self.opened = self.held = True
        self.heard: list[Callable[[bool], None]] = []

    def open(self) -> bool:
        return self.opened

    def holds(self) -> bool:
        return self.held

    def ask(self, heard: Callable[[bool], None]) -> None:
        self.heard.append(heard)


class AfarShelf(Shelf):
    """One entry that was found elsewhere, and what asking for it once more hangs on."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.same = Elsewhere()
        self.afar = FoundAfar(
            "digits",
            Made(self.keys, call.plan),
            self.same,
            150.5,
            0.25,
            self.worth,
            lambda: self.now,
            lambda *told: self.told.append(told),
        )


def test_what_was_found_afar_is_found_once_more(make_call: Callable[..., Call]) -> None:
    """Its store is asked; it counts as a hit that took so long to look up."""
    shelf = AfarShelf(make_call())
    assert shelf.afar.open()
    assert 0.045 == shelf.afar.seconds
    said = list[bool]()
    shelf.afar.ask(said.append)
    assert ([], 0) == (shelf.told, shelf.worth._looks)
    shelf.now = 100.5
    shelf.same.heard[0](True)
    assert [True] == said
    assert 50.0 == shelf.afar.fresh(100.0)
    assert [("digits", "hit")] == shelf.told
    assert (1, 0.25, 0.5) == (shelf.worth._looks, shelf.worth._saved, shelf.worth._spent)


def thrown_away(shelf: AfarShelf) -> None:
    shelf.same.held = False


def closed(shelf: AfarShelf) -> None:
    shelf.same.opened = False


@pytest.mark.parametrize("event", [turned_off, over, closed, another_secret, another_version])
def test_for_what_is_not_as_it_was_nobody_is_asked(make_call: Callable[..., Call], event: Callable[[AfarShelf], None]) -> None:
    """It is looked up."""
    shelf = AfarShelf(make_call())
    event(shelf)
    assert not shelf.afar.open()


@pytest.mark.parametrize("event", [over, thrown_away, another_secret, another_version])
def test_what_changes_while_its_store_is_asked(make_call: Callable[..., Call], event: Callable[[AfarShelf], None]) -> None:
    """And nothing is counted, whatever the store said."""
    shelf = AfarShelf(make_call())
    assert shelf.afar.open()
    event(shelf)
    assert shelf.afar.fresh(100.0) is None
    assert ([], 0) == (shelf.told, shelf.worth._looks)


def test_why_a_question_is_not_looked_up(make_call: Callable[..., Call]) -> None:
    """Its client would have nothing kept, before all; nothing is gained; its key cannot be made."""
    request = make_call().request
    assert unlooked(request, ("no-cache",), True) is None
    found = [unlooked(request, ("no-store",), False), unlooked(request, (), False)]
    assert [("request", ""), ("off", "no-gain")] == [(each.status, each.detail) for each in found if each is not None]


def test_what_is_kept_lasts_longer_than_it_is_fresh() -> None:
    """By the longer of the two times for which it may be stale; the time to live is up to a tenth shorter."""
    caching = Caching(epoch=b"", ttl=100.0, stale_while_revalidate=5.0, stale_if_error=30.0)
    assert (1100.0, 1130.0) == lasts(caching, 1000.0, 0.0)
    assert (1090.0, 1120.0) == lasts(caching, 1000.0, 1.0)


async def test_a_key_is_renewed_once_at_a_time() -> None:
    """Whatever becomes of it, and though there was no room for it."""
    spawned: list[Coroutine[Any, Any, None]] = []
    asked = 0

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        if len(spawned) == 1:
            work.close()
            raise RuntimeError
        spawned.append(work)

    async def renew() -> None:
        nonlocal asked
        asked += 1
        raise InferenceError(ErrorKind.UNAVAILABLE, "down") if asked == 1 else TimeoutError

    renewals = Renewals(spawn)
    for _ in range(3):
        renewals.begin(b"a", renew, "a")
    renewals.begin(b"b", renew, "b")  # no room
    await spawned[0]
    spawned.clear()
    renewals.begin(b"b", renew, "b")
    await spawned[0]
    assert 2 == asked
