"""Asking the cheap model first."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Call
from policies.cascade import CascadePolicy
from routing.cascade.audits import Audit
from routing.plan import Target
from tests.policies.askers import STAGES, Asked, Clock, Make, Paced, Reply


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
