"""The shadow's layer: what becomes of a mirror never becomes anything of the answer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor
from gateway.aside import here
from gateway.spawner import Spawner
from policies.beside import Runner
from policies.call import Answer, Ask, Call, Share
from policies.shadow import Account, Accounts, Keep, Means, ShadowPolicy
from routing.plan import Mirror, Stage, Target
from routing.principal import Principal
from routing.shadow.pairs import Pair
from routing.shadow.shadows import Record, Shadow

T = TypeVar("T")
MakeCall = Callable[..., Call]
NEXT = Target("next", "triton", "b_next", cost=2)
DARK = Shadow("dark", "fast", "next", 1.0, epoch="e")


def answer(variant: str, value: int = 1, planned: bool = True) -> Answer:
    tensor = Tensor("y", "INT64", (1,), value.to_bytes(8, "little"))
    response = InferenceResponse(variant, "1", "q", {}, Tensors((tensor,)))
    return Answer(response, (Share(variant, 1, variant, "1"),), 1.0, 0.01, planned=planned)


class Backend:
    """Answers by variant: with a value, an error, or not before it is told to."""

    def __init__(self) -> None:
        self.values: dict[str, list[int | InferenceError]] = {}
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, call: Call) -> Answer:
        variant = call.plan.stages[0].target.variant
        self.asked.append(variant)
        await self.go.wait()
        found = self.values.get(variant, [1])
        value = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(value, InferenceError):
            raise value
        return answer(variant, value)


class Bench:
    """A layer with everything it needs; `now` is the clock, `chances` come first to last; `ask` stands for the backend."""

    def __init__(self, spawner: Spawner, aside: Runner = here, ask: Ask | None = None) -> None:
        self.now = 100.0
        self.backend = Backend()
        self.accounts: Accounts = {("digits", "dark"): Account("e", lambda: self.now)}
        self.told: list[str] = []
        self.chances: list[float] = []
        self.spawner = spawner
        self.asks: dict[str, Ask] = {"dark": ask or self.backend}
        self.means = Means(spawner.spawn, lambda: self.now, lambda: 1e9 + self.now, self.chance, self.tell, aside)
        self.policy = ShadowPolicy(self.asks, self.accounts, self.means)

    def keep(self, keeper: Keep) -> None:
        """Pairs are written down from now on."""
        self.policy = ShadowPolicy(self.asks, self.accounts, dataclasses.replace(self.means, keep=keeper))

    def chance(self) -> float:
        return self.chances.pop(0) if self.chances else 0.0

    def tell(self, model: str, shadow: str, outcome: str) -> None:
        assert ("digits", "dark") == (model, shadow)
        self.told.append(outcome)

    async def asked(self, call: Call, ask: Ask | None = None) -> Answer:
        """What the client gets."""
        return await self.policy(call, ask or primary)

    async def done(self, call: Call, ask: Ask | None = None) -> None:
        """The client has it, and everything that can go on has done so."""
        await self.asked(call, ask)
        await ended(self)


async def primary(call: Call) -> Answer:
    return answer("fast")


async def ended(bench: Bench) -> None:
    """Everything that can go on has done so."""
    for _ in range(30):
        await asyncio.sleep(0)


def mirrored(call: Call, shadow: Shadow = DARK) -> Call:
    """The call with this shadow in its plan."""
    plan = replace(call.plan, confidence=None)
    candidate = replace(plan, stages=(Stage(NEXT),))
    return replace(call, plan=replace(plan, mirrors=(Mirror(shadow, candidate, plan),)), size=100)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    spawner = Spawner()
    yield Bench(spawner)
    await spawner.close()


async def test_the_answer_is_the_primary_s_own(bench: Bench, make_call: MakeCall) -> None:
    """The very object, and it is there before anybody else is asked."""
    given = answer("fast")

    async def ask(_: Call) -> Answer:
        assert not bench.backend.asked
        return given

    assert given is await bench.asked(mirrored(make_call()), ask)
    assert not bench.backend.asked
    await ended(bench)
    assert ["next", "fast"] == bench.backend.asked
    assert ["compared"] == bench.told


async def test_a_question_that_is_not_drawn_is_passed_on(bench: Bench, make_call: MakeCall) -> None:
    """Without a layer of ours round its answer; nothing is counted."""
    bench.chances = [0.5]
    call = mirrored(make_call(), replace(DARK, fraction=0.5))
    asked = bench.policy(call, primary)
    assert "primary" in getattr(asked, "__qualname__", "")
    await asked
    assert [] == bench.told


async def test_noise_is_a_share_of_the_mirrors(bench: Bench, make_call: MakeCall) -> None:
    """The second ask is drawn before anything of the answers is known."""
    bench.chances = [0.0, 0.6]
    await bench.done(mirrored(make_call(), replace(DARK, noise=0.5)))
    assert ["next"] == bench.backend.asked
    (tally,) = bench.accounts["digits", "dark"].ledger.tallies
    assert (1, 0) == (tally.questions, tally.pairs)


async def test_who_is_asked_first_is_drawn(bench: Bench, make_call: MakeCall) -> None:
    """Else the candidate would never stand behind the second ask, and the two were no equals; each keeps its own answer."""
    bench.chances = [0.0, 0.0, 0.5]
    bench.backend.values = {"next": [2], "fast": [1]}
    await bench.done(mirrored(make_call()))
    assert ["fast", "next"] == bench.backend.asked
    field = bench.accounts["digits", "dark"].ledger.tallies[0].fields["y"]
    assert (1, 0) == (field.worse, field.better)


@pytest.mark.parametrize(
    ("candidate", "again", "worse", "better"), [(2, 1, 1, 0), (1, 2, 0, 1), (2, 2, 0, 0), (2, 3, 0, 0), (1, 1, 0, 0)]
)
async def test_what_is_counted(bench: Bench, make_call: MakeCall, candidate: int, again: int, worse: int, better: int) -> None:
    """Who is further from the first answer, if one of the two is further than the rule lets pass."""
    bench.backend.values = {"next": [candidate], "fast": [again]}
    await bench.done(mirrored(make_call()))
    field = bench.accounts["digits", "dark"].ledger.tallies[0].fields["y"]
    assert (worse, better) == (field.worse, field.better)
    assert (candidate != 1, again != 1) == (field.differed, field.noisy)


async def test_who_wants_to_know_what_was_compared(bench: Bench, make_call: MakeCall) -> None:
    """Hears of each question that the primary was asked twice: do the candidate's answer and the second one differ?"""
    heard: list[tuple[str, str, bool, bool]] = []
    means = dataclasses.replace(bench.means, held=lambda model, shadow, *differ: heard.append((model, shadow.to, *differ)))
    bench.policy = ShadowPolicy(bench.asks, bench.accounts, means)
    bench.backend.values = {"next": [2], "fast": [1]}
    await bench.done(mirrored(make_call()))
    bench.chances = [0.0, 0.6]
    await bench.done(mirrored(make_call(), replace(DARK, noise=0.5)))
    assert [("digits", "next", True, False)] == heard


async def test_a_primary_that_fails(bench: Bench, make_call: MakeCall) -> None:
    """The client hears of it; of a broken answer the candidate is asked whether it has a better one, of an outage nobody."""
    kinds = [ErrorKind.BROKEN, ErrorKind.OVERLOADED, ErrorKind.DEADLINE]
    for kind in kinds:

        async def fails(_: Call, kind: ErrorKind = kind) -> Answer:
            raise InferenceError(kind, "no")

        with pytest.raises(InferenceError):
            await bench.asked(mirrored(make_call()), fails)
        await ended(bench)
    assert ["compared", "failed", "failed"] == bench.told
    (tally,) = bench.accounts["digits", "dark"].ledger.tallies
    assert {"broken → ok": 1} == tally.fields["status"].whys


async def test_a_client_that_leaves_leaves_no_mirror(bench: Bench, make_call: MakeCall) -> None:
    """Nobody was answered, so there is nothing to compare with; once answered, it may leave."""
    forever = asyncio.Event()

    async def hangs(_: Call) -> Answer:
        await forever.wait()
        return answer("fast")

    client = asyncio.ensure_future(bench.asked(mirrored(make_call()), hangs))
    await ended(bench)
    client.cancel()
    await asyncio.wait([client])
    assert [] == bench.backend.asked


@pytest.mark.parametrize(
    ("error", "outcome"), [(ErrorKind.DEADLINE, "timeout"), (ErrorKind.BROKEN, "error"), (ErrorKind.OVERLOADED, "overloaded")]
)
async def test_a_candidate_that_fails(bench: Bench, make_call: MakeCall, error: ErrorKind, outcome: str) -> None:
    """Is held against the primary's second answer by status alone; one that was asked too much, not at all."""
    bench.backend.values = {"next": [InferenceError(error, "no")]}
    assert "fast" == (await bench.asked(mirrored(make_call()))).response.model
    await ended(bench)
    assert [outcome] == bench.told
    tallies = bench.accounts["digits", "dark"].ledger.tallies
    fields = tallies[0].fields if tallies else {}
    assert (["status"] if outcome != "overloaded" else []) == list(fields)


async def test_places_queue_and_drops(bench: Bench, make_call: MakeCall) -> None:
    """One is asked, one waits, the others are dropped; who has waited longer than an answer may take is dropped as well."""
    bench.backend.go.clear()
    call = mirrored(make_call(), replace(DARK, in_flight=1, queue=2, timeout=5.0))
    for _ in range(4):
        await bench.done(call)
    assert ["queue-full"] == bench.told
    assert 1 == len(bench.spawner)
    bench.now += 6
    bench.backend.go.set()
    await ended(bench)
    assert ["queue-full", "compared", "late", "late"] == bench.told
    account = bench.accounts["digits", "dark"]
    assert (0, 0, 0) == (account.running, account.held, len(account.waiting))


async def test_memory_is_bounded(bench: Bench, make_call: MakeCall) -> None:
    """One question of any size is taken, a second one beside it only as far as there is room."""
    bench.backend.go.clear()
    call = replace(mirrored(make_call()), size=1 << 30)
    await bench.asked(call)
    await bench.asked(call)
    assert ["memory"] == bench.told
    bench.backend.go.set()


async def test_a_budget_comes_back_with_time(bench: Bench, make_call: MakeCall) -> None:
    """It is spent by what was really asked, so it may be overdrawn by one question."""
    call = mirrored(make_call(), replace(DARK, budget=(1.0, 0.5)))
    for wait, outcome in ((0.0, "compared"), (1.9, "budget"), (0.2, "compared")):
        bench.now += wait
        await bench.done(call)
        assert outcome == bench.told[-1]


async def test_who_is_not_mirrored(bench: Bench, make_call: MakeCall) -> None:
    """Each with its reason."""
    call = mirrored(make_call(), replace(DARK, tenants=frozenset({"t"})))
    await bench.asked(replace(call, principal=Principal("ann", "t")))
    await bench.asked(replace(call, request=replace(call.request, headers=(("idempotency-key", "1"),))))

    async def stand_in(_: Call) -> Answer:
        return answer("fast", planned=False)

    async def another(_: Call) -> Answer:
        return answer("cheap")

    await bench.asked(call, stand_in)
    await bench.asked(call, another)
    bench.policy.streamed(call)
    assert ["spared", "not-repeatable", "stand-in", "not-asked", "stream"] == bench.told
    assert [] == bench.backend.asked


async def test_a_process_with_too_much_to_do(make_call: MakeCall) -> None:
    """Mirrors go first."""
    bench = Bench(Spawner(limit=0))
    assert "fast" == (await bench.asked(mirrored(make_call()))).response.model
    assert ["busy"] == bench.told


async def test_a_process_that_ends(bench: Bench, make_call: MakeCall) -> None:
    """Its mirrors end at once, and give their places back."""
    bench.backend.go.clear()
    await bench.done(mirrored(make_call()))
    await bench.spawner.close()
    assert ["abandoned"] == bench.told
    assert (0, 0) == (bench.accounts["digits", "dark"].running, bench.accounts["digits", "dark"].held)


async def test_large_answers_are_compared_beside_the_loop(bench: Bench, make_call: MakeCall) -> None:
    """And given up where too much waits there."""

    async def full(work: Callable[[], T]) -> T:
        raise OSError

    bench = Bench(bench.spawner, full)

    async def large(_: Call) -> Answer:
        tensor = Tensor("y", "UINT8", (1 << 17,), bytes(1 << 17))
        return replace(answer("fast"), response=InferenceResponse("fast", "1", "q", {}, Tensors((tensor,))))

    await bench.done(mirrored(make_call()), large)
    assert ["busy"] == bench.told


async def test_what_cannot_be_read_is_a_difference_of_status(bench: Bench, make_call: MakeCall) -> None:
    """Whoever's answer it is, nobody fails for it."""

    class Unreadable(Tensors):
        def tensors(self) -> tuple[Tensor, ...]:
            raise InferenceError(ErrorKind.BROKEN, "no")

    async def unreadable(call: Call) -> Answer:
        found = answer(call.plan.stages[0].target.variant)
        return replace(found, response=replace(found.response, payload=Unreadable(())))

    bench = Bench(bench.spawner, ask=unreadable)
    assert "fast" == (await bench.asked(mirrored(make_call()))).response.model
    await ended(bench)
    assert ["compared"] == bench.told
    (tally,) = bench.accounts["digits", "dark"].ledger.tallies
    assert {"unreadable": 1} == tally.fields["status"].whys


async def test_payloads_that_would_take_long_to_read_are_not_kept(bench: Bench, make_call: MakeCall) -> None:
    """The difference is counted all the same."""
    bench.backend.values = {"next": [2]}
    call = mirrored(make_call(), replace(DARK, payloads=True))
    await bench.asked(call)
    await bench.done(replace(call, size=1 << 20))
    examples = bench.accounts["digits", "dark"].ledger.tallies[0].examples
    assert [[], ["candidate y", "primary y", "question x"]] == sorted(sorted(each.payload) for each in examples)


async def test_mirrors_from_before_a_reload(bench: Bench, make_call: MakeCall) -> None:
    """Count for nobody: neither one that is under way nor a question that was planned by the policy before."""
    bench.backend.go.clear()
    await bench.done(mirrored(make_call()))
    account = bench.accounts["digits", "dark"]
    account.follow("new")
    bench.backend.go.set()
    await ended(bench)
    await bench.done(mirrored(make_call()))
    assert ("new", {}, [], 0) == (account.ledger.epoch, account.ledger.outcomes, account.ledger.tallies, account.running)
    del bench.accounts["digits", "dark"]
    await bench.asked(mirrored(make_call()))
    assert {} == bench.accounts


class Keeper:
    """Remembers what it is given to write down."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.why: list[str] = []

    def keep(self, pair: Pair) -> None:
        self.pairs.append(pair)

    def missed(self, model: str, shadow: str, why: str) -> None:
        self.why.append(why)


async def test_pairs_are_written_down(bench: Bench, make_call: MakeCall) -> None:
    """Where the shadow says so: both sides' label and score; an answer that lacks them is said."""
    kept = Keeper()
    bench.keep(kept)
    recorded = replace(DARK, record=Record("y", "output", label="y"))
    bench.backend.values["next"] = [5]
    await bench.asked(mirrored(make_call(), recorded))
    await bench.asked(mirrored(make_call()))
    await bench.done(mirrored(make_call(), replace(DARK, record=Record("z", "output"))))
    (pair,) = kept.pairs
    assert [("fast", ["1"], [1.0]), ("next", ["5"], [5.0])] == [
        (side.variant, list(side.labels), side.scores.tolist()) for side in pair.sides
    ]
    assert ["no confidence in output 'z': the answer does not have it"] == kept.why
    assert ["compared"] * 3 == bench.told


async def test_of_a_cascade_nothing_is_written(bench: Bench, make_call: MakeCall) -> None:
    """Only questions that all went one way would be seen, the easy or the hard ones."""
    kept = Keeper()
    bench.keep(kept)
    call = mirrored(make_call(), replace(DARK, record=Record("y", "output", label="y")))
    await bench.done(replace(call, plan=replace(call.plan, stages=(*call.plan.stages[:1], Stage(NEXT)))))
    assert (["compared"], [], []) == (bench.told, kept.pairs, kept.why)
