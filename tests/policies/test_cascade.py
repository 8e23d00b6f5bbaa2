"""Asking the cheap model first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call
from policies.cascade import CascadePolicy
from routing.cascade.audits import Audit
from routing.plan import Target

Make = Callable[..., Call]
Reply = Callable[[Call, dict[str, list[float]]], Answer]
STAGES = (("fast", 0.9), ("mid", 0.8), ("dear", None))


class Asked:
    """An Ask that answers from a table of confidences and notes whom it was asked for, about which rows."""

    def __init__(self, reply: Reply, scores: dict[str, list[float]], failing: dict[str, ErrorKind] | None = None) -> None:
        self.reply, self.scores, self.failing = reply, scores, failing or {}
        self.calls: list[tuple[str, list[int]]] = []

    async def __call__(self, call: Call) -> Answer:
        assert call.target is not None
        rows = call.request.payload.tensors()[0].array().ravel().astype(int).tolist()
        self.calls.append((call.target.variant, rows))
        if call.target.variant in self.failing:
            raise InferenceError(self.failing[call.target.variant], "no")
        answer = self.reply(call, self.scores)
        if call.bill is not None:
            call.bill.asked()
            call.bill.pay(answer.cost)
        return answer


async def test_one_stage_is_asked_as_it_is(make_call: Make, make_answer: Reply, observer: object) -> None:
    """A plan of one stage passes the request on untouched."""
    call = make_call(3)

    async def ask(asked: Call) -> Answer:
        assert asked.request is call.request
        return make_answer(asked, {"fast": [0, 0, 0]})

    answer = await CascadePolicy(observer, lambda: 0.0)(call, ask)  # type: ignore[arg-type]
    assert answer.escalation == "none"


async def test_only_unsure_rows_go_up_in_one_part(make_call: Make, make_answer: Reply, observer: object) -> None:
    """Each stage is asked once, about the rows its predecessor was unsure of; the answer is in the client's order."""
    scores = {"fast": [0.95, 0.1, 0.2, 0.99], "mid": [0, 0.5, 0.85, 0], "dear": [0, 0.3, 0, 0]}
    asked = Asked(make_answer, scores)
    answer = await CascadePolicy(observer, lambda: 0.0)(make_call(4, STAGES), asked)  # type: ignore[arg-type]
    assert asked.calls == [("fast", [0, 1, 2, 3]), ("mid", [1, 2]), ("dear", [1])]
    outputs = {tensor.name: tensor.array().ravel().tolist() for tensor in answer.response.payload.tensors()}
    assert outputs == {"p": [0.95, 0.3, 0.85, 0.99], "row": [0, 1, 2, 3]}
    assert [(share.variant, share.rows) for share in answer.shares] == [("fast", 2), ("mid", 1), ("dear", 1)]
    assert answer.escalation == "fast→mid→dear"
    assert answer.cost == 4 * 1 + 2 * 6 + 1 * 40
    assert answer.backend_seconds == 0.75
    assert observer.lines == [("escalated", "digits", "fast", "mid", "asked"), ("escalated", "digits", "mid", "dear", "asked")]  # type: ignore[attr-defined]


async def test_sure_rows_stay(make_call: Make, make_answer: Reply, observer: object) -> None:
    """When every row is sure nobody else is asked."""
    asked = Asked(make_answer, {"fast": [0.9, 1.0]})
    answer = await CascadePolicy(observer, lambda: 0.0)(make_call(2, STAGES), asked)  # type: ignore[arg-type]
    assert asked.calls == [("fast", [0, 1])]
    assert answer.escalation == "none"
    assert answer.response.version == "1"


@pytest.mark.parametrize(("kind", "said"), [(ErrorKind.UNAVAILABLE, "skipped;error"), (ErrorKind.DEADLINE, "skipped;deadline")])
async def test_a_later_stage_that_fails_loses_nothing(
    make_call: Make, make_answer: Reply, observer: object, kind: ErrorKind, said: str
) -> None:
    """The best answer there is goes out, and says that it was not escalated and why."""
    asked = Asked(make_answer, {"fast": [0.95, 0.1], "mid": []}, {"mid": kind})
    answer = await CascadePolicy(observer, lambda: 0.0)(make_call(2, STAGES), asked)  # type: ignore[arg-type]
    assert answer.escalation == said
    assert [(share.variant, share.rows) for share in answer.shares] == [("fast", 2)]


async def test_a_stage_without_time_is_not_started(make_call: Make, make_answer: Reply, observer: object) -> None:
    """With the deadline all but reached the next stage is not asked at all."""
    asked = Asked(make_answer, {"fast": [0.1]})
    answer = await CascadePolicy(observer, lambda: 9.992)(make_call(1, STAGES, at=10.0), asked)  # type: ignore[arg-type]
    assert asked.calls == [("fast", [0])]
    assert answer.escalation == "skipped;deadline"


async def test_the_first_stage_failing_fails_the_call(make_call: Make, make_answer: Reply, observer: object) -> None:
    """Without any answer in hand the error is the answer."""
    asked = Asked(make_answer, {}, {"fast": ErrorKind.BROKEN})
    with pytest.raises(InferenceError) as caught:
        await CascadePolicy(observer, lambda: 0.0)(make_call(1, STAGES), asked)  # type: ignore[arg-type]
    assert caught.value.kind is ErrorKind.BROKEN


async def test_cancellation_reaches_the_stage_being_asked(make_call: Make, make_answer: Reply, observer: object) -> None:
    """When the client leaves during a later stage, that ask is cancelled, not turned into an answer."""
    reached, ended = asyncio.Event(), asyncio.Event()

    async def ask(call: Call) -> Answer:
        assert call.target is not None
        if call.target.variant == "fast":
            return make_answer(call, {"fast": [0.1]})
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    task = asyncio.ensure_future(CascadePolicy(observer, lambda: 0.0)(make_call(1, STAGES), ask))  # type: ignore[arg-type]
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_sampled_cascade_tells_each_ask(make_call: Make, make_answer: Reply, observer: object) -> None:
    """Who was asked, about how many rows, how long it took and how sure it was; one that is not sampled tells none of it."""
    scores = {"fast": [0.95, 0.1, 0.2], "mid": [0, 0.5, 0.85], "dear": [0, 0.3, 0]}
    call = make_call(3, STAGES)
    sampled = replace(call, plan=replace(call.plan, sample=0.01))
    policy = CascadePolicy(observer, lambda: 0.0)  # type: ignore[arg-type]
    assert () == (await policy(call, Asked(make_answer, scores))).asks
    answer = await policy(sampled, Asked(make_answer, scores))
    assert [("fast", 3, 0.25), ("mid", 2, 0.25), ("dear", 1, 0.25)] == [
        (ask.variant, ask.rows, ask.seconds) for ask in answer.asks
    ]
    assert [[0.95, 0.1, 0.2], [0.5, 0.85], None] == [None if ask.scores is None else ask.scores.tolist() for ask in answer.asks]
    failing = Asked(make_answer, scores, {"mid": ErrorKind.UNAVAILABLE})
    assert ["fast"] == [ask.variant for ask in (await policy(sampled, failing)).asks]


async def test_an_audited_cascade_tells_whose_each_row_is(make_call: Make, make_answer: Reply, observer: object) -> None:
    """Row by row the place of the share that it belongs to; nobody else pays for it."""
    scores = {"fast": [0.95, 0.1, 0.99], "mid": [0, 0.9, 0]}
    call, policy = make_call(3, STAGES), CascadePolicy(observer, lambda: 0.0)  # type: ignore[arg-type]
    assert () == (await policy(call, Asked(make_answer, scores))).owners
    audited = replace(call, plan=replace(call.plan, audit=Audit(0.01)))
    assert (0, 1, 0) == (await policy(audited, Asked(make_answer, scores))).owners


async def test_an_empty_purse_keeps_rows_where_they_are(make_call: Make, make_answer: Reply, observer: object) -> None:
    """It is asked about the stage and its rows before each stage; what it refuses is not asked, and the client is told."""
    questions: list[tuple[str, int]] = []

    class Purse:
        def may(self, call: Call, target: Target, rows: int, seconds: float) -> bool:
            questions.append((target.variant, rows))
            return target.variant == "mid"

    scores = {"fast": [0.95, 0.1, 0.2], "mid": [0, 0.5, 0.85]}
    asked = Asked(make_answer, scores)
    answer = await CascadePolicy(observer, lambda: 0.0, Purse())(make_call(3, STAGES), asked)  # type: ignore[arg-type]
    assert [("mid", 2), ("dear", 1)] == questions
    assert ["fast", "mid"] == [variant for variant, _ in asked.calls]
    assert ("skipped;budget", False) == (answer.escalation, answer.planned)


class Clock:
    """Moves when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Paced(Asked):
    """Each variant takes its seconds on the clock."""

    def __init__(self, reply: Reply, scores: dict[str, list[float]], clock: Clock, seconds: dict[str, float]) -> None:
        super().__init__(reply, scores)
        self.clock, self.seconds = clock, seconds

    async def __call__(self, call: Call) -> Answer:
        assert call.target is not None
        self.clock.now += self.seconds.get(call.target.variant, 0.0)
        if self.clock.now > call.deadline.at:
            raise InferenceError(ErrorKind.DEADLINE, "late")
        return await super().__call__(call)


async def test_a_stage_that_would_not_be_done_in_time_is_not_asked(make_call: Make, make_answer: Reply, observer: object) -> None:
    """Once its usual time is known; before that it is asked, and so it is again when nobody has seen it for a while."""
    clock, two = Clock(), (STAGES[0], STAGES[2])
    asked = Paced(make_answer, {"fast": [0.1], "dear": [0.5]}, clock, {"fast": 0.01, "dear": 0.2})
    policy = CascadePolicy(observer, clock)  # type: ignore[arg-type]
    said = [(await policy(make_call(1, two, at=clock.now + 0.5), asked)).escalation for _ in range(32)]
    assert ["fast→dear"] * 32 == said
    assert "fast→dear" == (await policy(make_call(1, two, at=clock.now + 0.25), asked)).escalation
    asked.calls.clear()
    assert "skipped;deadline" == (await policy(make_call(1, two, at=clock.now + 0.2), asked)).escalation
    assert ["fast"] == [variant for variant, _ in asked.calls]
    clock.now += 60.0
    asked.seconds["dear"] = 0.05
    assert "fast→dear" == (await policy(make_call(1, two, at=clock.now + 0.2), asked)).escalation


async def test_a_stage_that_was_too_late_each_time_is_slow(make_call: Make, make_answer: Reply, observer: object) -> None:
    """What had no answer yet when time was up counts as having taken so long."""
    clock, two = Clock(), (STAGES[0], STAGES[2])
    asked = Paced(make_answer, {"fast": [0.1]}, clock, {"dear": 0.2})
    policy = CascadePolicy(observer, clock)  # type: ignore[arg-type]
    for _ in range(32):
        assert "skipped;deadline" == (await policy(make_call(1, two, at=clock.now + 0.1), asked)).escalation
    before = clock.now
    assert "skipped;deadline" == (await policy(make_call(1, two, at=clock.now + 0.1), asked)).escalation
    assert before == clock.now


@pytest.mark.parametrize(
    ("shut", "fallback", "said"),
    [
        ({"mid"}, {}, "skipped;breaker"),
        ({"mid"}, {"mid": "dear"}, "fast→mid"),
        ({"mid", "dear"}, {"mid": "dear"}, "skipped;breaker"),
        ({"fast", "dear"}, {}, "fast→mid"),
    ],
)
async def test_a_stage_that_nobody_is_sent_to_is_not_asked(
    make_call: Make, make_answer: Reply, observer: object, shut: set[str], fallback: dict[str, str], said: str
) -> None:
    """Where its breakers are open, unless somebody stands in for it who can be asked; the first stage is asked in any case."""
    asked = Asked(make_answer, {"fast": [0.95, 0.1], "mid": [0, 0.9]})
    policy = CascadePolicy(observer, lambda: 0.0, shut=lambda target: target.variant in shut)  # type: ignore[arg-type]
    answer = await policy(make_call(2, STAGES, fallback), asked)
    assert (said, said != "skipped;breaker") == (answer.escalation, answer.planned)
    assert ("escalated", "digits", "fast", "mid", "breaker" if "breaker" in said else "asked") in observer.lines  # type: ignore[attr-defined]


class Gated:
    """An Ask whose variants answer when they are let; notes who began, and who ended how."""

    def __init__(self, reply: Reply, scores: dict[str, list[float]]) -> None:
        self.reply, self.scores = reply, scores
        self.began, self.gone = asyncio.Event(), asyncio.Event()
        self.gates = {name: asyncio.Event() for name in ("fast", "dear")}
        self.lines: list[str] = []

    async def __call__(self, call: Call) -> Answer:
        assert call.target is not None
        name = call.target.variant
        self.lines.append(f"{name} asked")
        if {"fast asked", "dear asked"} <= set(self.lines):
            self.began.set()
        try:
            await self.gates[name].wait()
        except asyncio.CancelledError:
            self.lines.append(f"{name} cancelled")
            raise
        return self.reply(call, self.scores)


@pytest.fixture
async def expecting(make_call: Make, make_answer: Reply, observer: object) -> tuple[CascadePolicy, Call]:
    """A cascade that has seen nine of ten rows go up, either stage in 0.1 s; and a question of ten rows with 0.15 s left."""
    clock, two = Clock(), (STAGES[0], STAGES[2])
    policy = CascadePolicy(observer, clock)  # type: ignore[arg-type]
    asked = Paced(make_answer, {"fast": [0.95, *[0.1] * 9], "dear": [0.5] * 10}, clock, {"fast": 0.1, "dear": 0.1})

    def ask(at: float) -> Call:
        call = make_call(10, two, at=at)
        return replace(call, plan=replace(call.plan, speculate=0.8, sample=1.0))

    for _ in range(40):
        await policy(ask(clock.now + 10.0), asked)
    assert "dear" in asked.calls[-1]
    observer.lines.clear()  # type: ignore[attr-defined]
    return policy, ask(clock.now + 0.15)


async def test_the_next_stage_is_asked_at_once_where_time_is_short(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object
) -> None:
    """About all rows; of its answer those are taken that were not sure, and the client hears what it always hears."""
    policy, call = expecting
    asked = Gated(make_answer, {"fast": [0.95, *[0.1] * 9], "dear": [0.5] * 10})
    task = asyncio.ensure_future(policy(call, asked))
    await asked.began.wait()
    for gate in asked.gates.values():
        gate.set()
    answer = await task
    assert ("fast→dear", True) == (answer.escalation, answer.planned)
    assert [("fast", 1), ("dear", 9)] == [(share.variant, share.rows) for share in answer.shares]
    p = answer.response.output("p")
    assert p is not None
    assert [0.95, *[0.5] * 9] == p.array().ravel().tolist()
    assert [("fast", 10), ("dear", 10)] == [(each.variant, each.rows) for each in answer.asks]
    assert [("escalated", "digits", "fast", "dear", "speculated")] == observer.lines  # type: ignore[attr-defined]


async def test_who_was_asked_for_nothing_is_let_go(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object
) -> None:
    """Where the first stage was sure of every row, the other has given everything back when the client has its answer."""
    policy, call = expecting
    asked = Gated(make_answer, {"fast": [0.95] * 10})
    task = asyncio.ensure_future(policy(call, asked))
    await asked.began.wait()
    asked.gates["fast"].set()
    answer = await task
    assert ["fast asked", "dear asked", "dear cancelled"] == asked.lines
    assert ("none", [("fast", 10)]) == (answer.escalation, [(share.variant, share.rows) for share in answer.shares])
    assert [("fast", 10), ("dear", 10)] == [(each.variant, each.rows) for each in answer.asks]
    assert [("escalated", "digits", "fast", "dear", "needless")] == observer.lines  # type: ignore[attr-defined]


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_leaves_ends_both(expecting: tuple[CascadePolicy, Call], make_answer: Reply, answered: bool) -> None:
    """Whether it leaves while both are asked, or while only the second is waited for; nothing is left behind."""
    policy, call = expecting
    asked = Gated(make_answer, {"fast": [0.1] * 10})
    task = asyncio.ensure_future(policy(call, asked))
    await asked.began.wait()
    if answered:
        asked.gates["fast"].set()
        for _ in range(3):
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ({"dear cancelled"} if answered else {"fast cancelled", "dear cancelled"}) == set(asked.lines[2:])
    assert {asyncio.current_task()} == asyncio.all_tasks()


def failing(asked: Gated, **kinds: ErrorKind) -> Ask:
    """These variants fail when both have been asked, the first before the second; the others answer as they do."""

    async def ask(call: Call) -> Answer:
        assert call.target is not None
        name = call.target.variant
        if name not in kinds:
            return await asked(call)
        asked.lines.append(f"{name} asked")
        if {"fast asked", "dear asked"} <= set(asked.lines):
            asked.began.set()
        await asked.began.wait()
        error = InferenceError(kinds[name], f"no {name}")
        error.cost = 1.0
        raise error

    return ask


@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.DEADLINE, ErrorKind.OVERLOADED])
async def test_a_first_stage_that_fails_does_not_lose_what_the_second_answers(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object, kind: ErrorKind
) -> None:
    """Which was asked about the same rows at the same time; nobody keeps such an answer as the one that was planned."""
    policy, call = expecting
    asked = Gated(make_answer, {"dear": [0.5] * 10})
    asked.gates["dear"].set()
    answer = await policy(call, failing(asked, fast=kind))
    assert ("fast→dear", False) == (answer.escalation, answer.planned)
    assert [("dear", 10)] == [(share.variant, share.rows) for share in answer.shares]
    p = answer.response.output("p")
    assert p is not None
    assert [0.5] * 10 == p.array().ravel().tolist()
    assert [("escalated", "digits", "fast", "dear", "speculated")] == observer.lines  # type: ignore[attr-defined]
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_first_stage_that_fails_for_the_question_s_sake_ends_the_second(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply
) -> None:
    """What is wrong with it is wrong at every stage: the client hears it at once, and nobody is left behind."""
    policy, call = expecting
    asked = Gated(make_answer, {"dear": [0.5] * 10})
    with pytest.raises(InferenceError, match="no fast"):
        await policy(call, failing(asked, fast=ErrorKind.INVALID))
    assert ["fast asked", "dear asked", "dear cancelled"] == asked.lines
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_where_both_fail_the_first_one_s_error_is_told(expecting: tuple[CascadePolicy, Call], make_answer: Reply) -> None:
    """It is the cause; it has cost what both have."""
    policy, call = expecting
    asked = Gated(make_answer, {})
    with pytest.raises(InferenceError, match="no fast") as raised:
        await policy(call, failing(asked, fast=ErrorKind.BROKEN, dear=ErrorKind.UNAVAILABLE))
    assert (ErrorKind.BROKEN, 2.0) == (raised.value.kind, raised.value.cost)
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_second_that_fails_ahead_is_skipped(expecting: tuple[CascadePolicy, Call], make_answer: Reply) -> None:
    """The first answers stay, as they do when it fails in its turn."""
    policy, call = expecting

    async def failing(each: Call) -> Answer:
        await asyncio.sleep(0)
        if each.target is not None and each.target.variant == "dear":
            raise InferenceError(ErrorKind.UNAVAILABLE, "no")
        return make_answer(each, {"fast": [0.95, *[0.1] * 9]})

    answer = await policy(call, failing)
    assert ("skipped;error", [("fast", 10)]) == (answer.escalation, [(each.variant, each.rows) for each in answer.shares])


async def test_what_must_not_be_asked_twice_is_not_asked_ahead(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object
) -> None:
    """A model that remembers its sequence would remember a question that was for nothing."""
    policy, call = expecting
    call = replace(call, request=replace(call.request, parameters={"sequence_id": 7}))
    await policy(call, Asked(make_answer, {"fast": [0.95] * 10}))
    assert [] == observer.lines  # type: ignore[attr-defined]


@pytest.mark.parametrize(("least", "more"), [(0.95, 0.0), (0.8, 0.1), (0.8, -0.1)])
async def test_one_after_the_other_where_that_is_better(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object, least: float, more: float
) -> None:
    """Where fewer rows are expected to go up, where there is time for both, or not even for the second alone."""
    policy, call = expecting
    call = replace(call, plan=replace(call.plan, speculate=least), deadline=Deadline(call.deadline.at + more))
    asked = Asked(make_answer, {"fast": [0.95, *[0.1] * 9], "dear": [0.5] * 10})
    await policy(call, asked)
    assert ("fast", list(range(10))) == asked.calls[0]
    assert not any("speculated" in line or "needless" in line for line in observer.lines)  # type: ignore[attr-defined]
