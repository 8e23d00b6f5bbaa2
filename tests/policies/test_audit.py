"""The audit's layer: which rows are drawn and asked, and that what becomes of them never becomes anything of the answer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import numpy as np
import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, RequestedOutput, Tensors
from backends.tensors import from_array
from gateway.aside import here
from gateway.spawner import Spawner
from policies.audit import MANY, Account, Accounts, AuditPolicy, Means
from policies.call import Answer, Call, Share
from routing.cascade.audits import Audit
from routing.plan import Stage, Target
from routing.principal import Principal
from routing.shadow.compare import Rule

T = TypeVar("T")
MakeCall = Callable[..., Call]
AUDIT = Audit(1.0, rules=(("p", Rule(exact=True)),), epoch="e")
DEAR = 9  # the value that the dearest stage gives every row, beside the row's own number


def outputs(rows: list[int], values: list[int]) -> Tensors:
    return Tensors((from_array("p", "INT64", np.array(values)[:, None]), from_array("row", "INT64", np.array(rows)[:, None])))


class Bench:
    """A layer over a cascade that keeps the rows of `kept`, with `values`, and its dearest stage."""

    def __init__(self, spawner: Spawner) -> None:
        self.now, self.told, self.paid = 100.0, list[str](), 0.0
        self.chances: list[float] = []
        self.spawner = spawner
        self.means = Means(spawner.spawn, lambda: self.now, self.chance, lambda *told: self.told.append(told[2]), self.pay, here)
        self.account = Account("e", self.means)
        self.accounts: Accounts = {("digits", "route"): self.account}
        self.policy = AuditPolicy({"route": self.dear}, self.accounts, self.means)
        self.values: dict[int, int] = {}  # by row, of the cheap stage; DEAR unless said
        self.up: set[int] = set()  # rows that go up
        self.asked: list[list[int]] = []
        self.calls: list[Call] = []
        self.escalation = "none"
        self.planned = True
        self.error: InferenceError | None = None
        self.go = asyncio.Event()
        self.go.set()

    def chance(self) -> float:
        return self.chances.pop(0) if self.chances else 0.0

    def pay(self, model: str, route: str, cost: float) -> None:
        self.paid += cost

    async def cascade(self, call: Call) -> Answer:
        self.calls.append(call)
        count = call.request.rows or 1
        owners = tuple(int(row in self.up) for row in range(count))
        shares = tuple(Share(name, owners.count(at), name, "1") for at, name in enumerate(("fast", "dear")))
        payload = outputs(list(range(count)), [self.values.get(row, DEAR) for row in range(count)])
        response = InferenceResponse("digits", "", "q", {}, payload)
        return Answer(response, shares, 1.0, 0.1, escalation=self.escalation, owners=owners, planned=self.planned)

    async def dear(self, call: Call) -> Answer:
        (x,) = call.request.payload.tensors()
        rows = [int(each) for each in x.array().ravel()]
        self.asked.append(rows)
        self.calls.append(call)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        assert (["dear"], ["p"]) == (
            [each.target.variant for each in call.plan.stages],
            [each.name for each in call.request.outputs],
        )
        return Answer(InferenceResponse("dear", "1", "q", {}, outputs(rows, [DEAR] * len(rows))), (), 40.0 * len(rows), 0.1)

    async def ask(self, call: Call) -> Answer:
        """What the client gets, when all that can go on has done so."""
        answer = await self.policy(call, self.cascade)
        await settled()
        return answer


async def settled() -> None:
    """Everything that can go on has done so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    spawner = Spawner()
    yield Bench(spawner)
    await spawner.close()


def audited(call: Call, audit: Audit = AUDIT) -> Call:
    """The call of a cascade of two with this audit."""
    return replace(call, plan=replace(call.plan, audit=audit), size=100)


@pytest.fixture
def call(make_call: MakeCall) -> Call:
    """About four rows."""
    return audited(make_call(4, stages=(("fast", 0.9), ("dear", None))))


async def test_kept_rows_are_held_against_the_dearest_stage(bench: Bench, call: Call) -> None:
    """In one question; one audited request with so many different rows; what it costs is told apart."""
    bench.up, bench.values = {1}, {2: 5}
    answer = await bench.ask(call)
    assert [[0, 2, 3]] == bench.asked
    assert (1.0, [(1, 3)], ["different"], 120.0) == (answer.cost, bench.account.seen, bench.told, bench.paid)
    assert ([(1, 3)], {"different": 1}, 120.0) == bench.account.take()
    assert ([], {}, 0.0) == bench.account.take()


async def test_nothing_was_kept(bench: Bench, call: Call) -> None:
    """The dearest stage has answered everything: there is nothing to ask and nothing to count."""
    bench.up = {0, 1, 2, 3}
    await bench.ask(call)
    assert ([], []) == (bench.asked, bench.told)


async def test_the_client_never_waits(bench: Bench, call: Call) -> None:
    """Its answer is there while the dearest stage has not begun to answer."""
    bench.go.clear()
    await bench.ask(call)
    assert ([[0, 1, 2, 3]], []) == (bench.asked, bench.told)
    bench.go.set()
    await settled()
    assert ["same"] == bench.told


async def test_who_is_not_drawn_pays_nothing(bench: Bench, call: Call) -> None:
    """The answer's own awaitable goes through; gaps between drawn rows are geometric, over requests too."""
    bench.chances = [1 - 0.5**6]  # six rows are passed over
    seldom = audited(call, replace(AUDIT, share=0.5))
    asked = bench.policy(seldom, bench.cascade)
    assert "cascade" in getattr(asked, "__qualname__", "")
    await asked
    second = bench.policy(seldom, bench.cascade)
    assert "_beside" in getattr(second, "__qualname__", "")
    await second
    await settled()
    assert [[2, 3]] == bench.asked


@pytest.mark.parametrize("share", [0.01, 0.2, 1.0])
def test_every_row_has_the_same_chance(share: float) -> None:
    """Whatever the sizes of requests, and at every place in one."""
    rng = np.random.default_rng(7)
    means = Means(lambda *_: None, lambda: 0.0, rng.random, lambda *_: None, lambda *_: None, here)  # type: ignore[arg-type]
    account, found = Account("e", means), np.zeros(8)
    sizes = rng.integers(1, 9, 60_000)
    for size in sizes:
        for row in account.drawn(int(size), share):
            found[row] += 1
    asked = np.array([(sizes > row).sum() for row in range(8)])
    assert np.all(np.abs(found - share * asked) <= 4.5 * np.sqrt(share * (1 - share) * asked) + 1e-9)


async def test_hidden_outputs(bench: Bench, call: Call) -> None:
    """What only the audit reads is asked for where the cascade does so, too, and taken out of the answer."""
    call = replace(call, request=replace(call.request, outputs=(RequestedOutput("row"),)))
    answer = await bench.ask(call)
    assert ["row", "p"] == [each.name for each in bench.calls[0].request.outputs]
    assert ["row"] == [each.name for each in answer.response.payload.tensors()]
    assert ["same"] == bench.told


@pytest.mark.parametrize(
    ("kind", "word"),
    [(ErrorKind.DEADLINE, "timeout"), (ErrorKind.OVERLOADED, "overloaded"), (ErrorKind.BROKEN, "error")],
)
async def test_the_dearest_stage_fails(bench: Bench, call: Call, kind: ErrorKind, word: str) -> None:
    """That is counted and is no evidence."""
    bench.error = InferenceError(kind, "no")
    await bench.ask(call)
    assert ([word], []) == (bench.told, bench.account.seen)


async def test_what_says_nothing_is_not_asked(bench: Bench, call: Call) -> None:
    """Spared callers, skipped escalations, stand-ins, and candidates of rollouts."""
    spared = replace(
        call,
        principal=Principal("ann", tenant="acme"),
        plan=replace(call.plan, audit=replace(AUDIT, tenants=frozenset({"acme"}))),
    )
    await bench.ask(spared)
    bench.escalation = "skipped;deadline"
    await bench.ask(call)
    bench.escalation, bench.planned = "none", False
    await bench.ask(call)
    bench.planned = True
    await bench.ask(replace(call, plan=replace(call.plan, swapped=("fast",))))
    await bench.ask(replace(call, plan=replace(call.plan, audit=replace(AUDIT, rules=(("other", Rule()),)))))
    assert (["spared", "skipped", "stand-in", "rollout", "outputs"], []) == (bench.told, bench.asked)


async def test_after_the_alarm(bench: Bench, call: Call) -> None:
    """The dearest stage answers alone, and nothing is audited; another epoch ends that."""
    bench.account.fallen = True
    await bench.ask(call)
    assert (["dear"], None) == ([stage.target.variant for stage in bench.calls[0].plan.stages], bench.calls[0].plan.confidence)
    bench.account.follow("other")
    assert not bench.account.fallen
    await bench.ask(call)  # a question from before the reload
    assert (2, []) == (len(bench.calls[-1].plan.stages), bench.told)


async def test_rows_that_mean_nothing(bench: Bench, call: Call) -> None:
    """A stage that answers a row otherwise beside other rows is asked about all of them, and they are one observation."""
    fast = Target("fast", "triton", "b_fast", row_independent=False)
    bench.values = {0: 5, 1: 5}
    await bench.ask(replace(call, plan=replace(call.plan, stages=(Stage(fast, 0.9), call.plan.stages[1]))))
    assert ([[0, 1, 2, 3]], [(1, 1)]) == (bench.asked, bench.account.seen)


async def test_many_rows_are_compared_beside_the_loop(bench: Bench, make_call: MakeCall) -> None:
    """Where that is too much at once, they are not judged."""

    async def full(work: Callable[[], T]) -> T:
        raise OSError

    bench.policy = AuditPolicy({"route": bench.dear}, bench.accounts, dataclasses.replace(bench.means, aside=full))
    await bench.ask(audited(make_call(MANY + 1, stages=(("fast", 0.9), ("dear", None)))))
    assert ["busy"] == bench.told


async def test_late(bench: Bench, call: Call) -> None:
    """What waited longer than it may take is not asked any more."""
    bench.go.clear()
    alone = replace(call, plan=replace(call.plan, audit=replace(AUDIT, in_flight=1, timeout=2.0)))
    await bench.ask(alone)
    await bench.ask(alone)
    bench.now += 3
    bench.go.set()
    await settled()
    assert (["same", "late"], 1) == (bench.told, len(bench.asked))
