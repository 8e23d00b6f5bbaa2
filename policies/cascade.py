"""Asks the cheap model first and sends up only the rows it was not sure of; the rules are routing/cascade/escalation.py's.

A next stage may be asked at the same time as the one before it, where one after the other would not be done in time and most rows
are expected to need it. Then it is a task of this call's own: whoever ends the call ends it, and it is gone before the call is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec.structs import replace

from backends.deadline import RESERVE
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from policies.call import Answer, Ask, Asked, Call, Observer, Share
from routing.bill import Bill
from routing.cascade.escalation import Escalation, Places
from routing.cascade.escalation import question as asked_of
from routing.cascade.foresight import Foresight
from routing.plan import Plan, Target


class Purse(Protocol):
    """Who pays for going up."""

    def began(self, call: Call) -> None:
        """A question enters a cascade that has a budget of its own."""
        ...

    def may(self, call: Call, target: Target, rows: int, seconds: float) -> bool:
        """Whether the target may be asked about so many rows, for so long; False: they keep the answer they have."""
        ...


class CascadePolicy:
    """Chooses the target: the plan's only one, or stage by stage. `shut`: whether nobody is sent to a target now."""

    def __init__(
        self,
        observer: Observer,
        clock: Callable[[], float],
        purse: Purse | None = None,
        shut: Callable[[Target], bool] = lambda _: False,
        foresight: Foresight | None = None,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._purse = purse
        self._shut = shut
        self._foresight = foresight or Foresight()

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer of the plan's only target, or of all its stages; without a cascade the layer adds nothing to wait for."""
        if len(call.plan.stages) == 1:
            return ask(replace(call, target=call.plan.stages[0].target))
        return self._climb(call, ask)

    async def _climb(self, call: Call, ask: Ask) -> Answer:
        """One answer with every row from the cheapest stage that was sure of it.

        Once a first answer is in hand, a later stage that fails, or that cannot or must not be asked, does not lose it: those
        rows keep the answer they have, and `escalation` says `skipped;` and why: deadline, breaker, budget or error. Nor does a
        stage that fails lose what the next one answers, if that was asked at the same time.
        """
        climb = _Climb(call, ask, self._clock)
        if self._purse is not None and call.plan.budget is not None:
            self._purse.began(call)
        try:
            for stage in range(len(call.plan.stages)):
                outcome = await self._step(climb, stage)
                if stage:
                    self._tell(climb, stage, outcome)
                if outcome not in _ANSWERED:
                    if climb.ahead is not None:
                        continue
                    climb.skipped = outcome
                    break
                if not len(climb.escalation.unsure):
                    break
        finally:
            if climb.ahead is not None:
                self._tell(climb, climb.ahead.stage, "needless")
                await climb.leave()
        return climb.answer()

    async def _step(self, climb: _Climb, stage: int) -> str:
        """Asks a stage about the rows still unsure; what came of it. Raises the first one's error if nobody has an answer."""
        ahead, plan, asked = climb.ahead, climb.call.plan, len(climb.escalation.unsure)
        target, began = plan.stages[stage].target, self._clock()
        if ahead is None and stage:
            if climb.call.bill is not None:
                climb.call.bill.idle()
            if why := self._against(climb, stage):
                return why
        try:
            if ahead is not None:
                await climb.catch_up(ahead)
            else:
                if plan.speculate is not None and self._worth(climb, stage, plan.speculate):
                    climb.go_ahead(stage + 1)
                answer = await climb.below(climb.question(stage))
                climb.heard(stage, answer, answer.backend_seconds)
        except InferenceError as error:
            if error.kind is ErrorKind.DEADLINE:
                self._foresight.took(target, self._clock() - (ahead.began if ahead else began), began)
            climb.lost(error)
            return "deadline" if error.kind is ErrorKind.DEADLINE else "error"
        if stage or plan.speculate is not None:
            seconds = climb.answers[stage].backend_seconds if ahead else self._clock() - began
            self._foresight.took(target, seconds, began)
        if plan.speculate is not None:
            self._foresight.went((climb.call.model, plan.route, target.variant), asked, len(climb.escalation.unsure))
        return "asked" if ahead is None else "speculated"

    def _against(self, climb: _Climb, stage: int) -> str:
        """Why the stage is not asked though rows are unsure; "" if it is. The purse comes last: what it lets through is asked."""
        call, target, now = climb.call, climb.call.plan.stages[stage].target, self._clock()
        remaining = call.deadline.at - RESERVE - now
        if remaining <= (self._foresight.usual(target, now) or 0.0):
            return "deadline"
        if self._shut(target) and self._nobody(call.plan, target):
            return "breaker"
        if self._purse is not None and not self._purse.may(call, target, climb.rows, remaining):
            return "budget"
        return ""

    def _nobody(self, plan: Plan, target: Target) -> bool:
        """Whether nobody who would stand in for the target is asked by anyone now, either."""
        following = plan.fallback.get(target.variant)
        while following is not None and self._shut(following):
            following = plan.fallback.get(following.variant)
        return following is None

    def _worth(self, climb: _Climb, stage: int, least: float) -> bool:
        """Whether the stage after this one is to be asked at the same time as this one."""
        call, now = climb.call, self._clock()
        if stage + 1 == len(call.plan.stages) or not call.request.repeatable:  # nobody may be asked such a thing for nothing
            return False
        target, following = (call.plan.stages[each].target for each in (stage, stage + 1))
        share = self._foresight.share((call.model, call.plan.route, target.variant))
        if share is None or share < least:
            return False
        first, second = (self._foresight.usual(each, now) for each in (target, following))
        remaining = call.deadline.at - RESERVE - now
        if first is None or second is None or remaining >= first + second:
            return False
        return not self._against(climb, stage + 1)

    def _tell(self, climb: _Climb, stage: int, outcome: str) -> None:
        stages = climb.call.plan.stages
        self._observer.escalated(climb.call.model, stages[stage - 1].target.variant, stages[stage].target.variant, outcome)


_ANSWERED = frozenset({"asked", "speculated"})
_FAILURES = frozenset({*ErrorKind} - {ErrorKind.INVALID})


class _Ahead:
    """A stage that is asked before anybody knows which rows need it."""

    def __init__(self, stage: int, about: Places, began: float, asking: asyncio.Task[Answer]) -> None:
        self.stage = stage
        self.about = about
        self.began = began
        self.asking = asking


class _Climb:
    """What one call has gathered on its way up."""

    __slots__ = (
        "_before",
        "_bill",
        "_clock",
        "_failed",
        "_needless",
        "_paid",
        "_planned",
        "_seconds",
        "_vain",
        "ahead",
        "answers",
        "below",
        "call",
        "escalation",
        "skipped",
    )

    def __init__(self, call: Call, ask: Ask, clock: Callable[[], float]) -> None:
        self.call = call
        self.escalation = Escalation(call.plan, call.request.rows)
        self.answers: dict[int, Answer] = {}  # by stage, those of which rows are in the answer
        self.skipped = ""
        self.ahead: _Ahead | None = None
        self.below = ask
        self._clock = clock
        self._needless: Asked | None = None  # in vain
        self._failed: InferenceError | None = None  # what the first stage has raised
        self._planned = True
        # Counts what no answer tells of: who was asked ahead. Without that one of its own is 6 µs for nothing.
        self._bill = call.bill or (Bill() if call.plan.speculate is not None else None)
        self._before = self._bill.paid if self._bill is not None else 0.0
        self._seconds = 0.0
        self._paid = 0.0
        self._vain = 0.0  # cost of asks that failed

    @property
    def rows(self) -> int:
        """So many would be asked about now."""
        return len(self.escalation.unsure)

    def heard(self, stage: int, answer: Answer, seconds: float, about: Places | None = None) -> None:
        """Takes in what a stage says; it was waited for so long. Raises BROKEN for what cannot be used."""
        self.answers[stage] = answer  # paid for, whether or not it can be used
        self._paid += answer.cost
        self._seconds += seconds
        if not answer.planned:
            self._planned = False
        self.escalation.answered(stage, answer.response.payload.tensors(), about)

    def lost(self, error: InferenceError) -> None:
        """A stage had no answer that can be used. Raises the first one's error where there is no other and none is to come; what
        is wrong with the question is so at every stage."""
        if not self.escalation.begun and (self.ahead is None or error.kind not in _FAILURES):
            first, self._failed = self._failed or error, None
            first.cost = error.cost + self._vain
            raise first
        if not self.escalation.begun:
            self._failed = error
        error.ended()
        self._vain += error.cost
        self._planned = False

    def question(self, stage: int) -> Call:
        """To a stage, about the rows still unsure. A later one's failing must come before the call's own."""
        call, rows, whole = self.call, self.escalation.unsure, self.escalation.rows
        deadline = call.deadline.less(RESERVE) if stage else call.deadline
        request = asked_of(call.request, call.plan, stage, rows if len(rows) < whole else None)
        return replace(call, target=call.plan.stages[stage].target, request=request, deadline=deadline, bill=self._bill)

    def go_ahead(self, stage: int) -> None:
        """Begins to ask it about all rows that the stage before is asked about."""
        call = self.question(stage)

        async def asking() -> Answer:
            return await self.below(call)

        self.ahead = _Ahead(stage, self.escalation.unsure, self._clock(), asyncio.get_running_loop().create_task(asking()))

    async def catch_up(self, ahead: _Ahead) -> None:
        """Takes of the answer that was asked for ahead what is needed now, when it comes."""
        now = self._clock()
        try:
            answer = await ahead.asking
        finally:
            if ahead.asking.done():  # else it is this call that ends, and it with it
                self.ahead = None
        self.heard(ahead.stage, answer, self._clock() - now, ahead.about)

    async def leave(self) -> None:
        """Ends what was asked ahead; it costs what it costs, and when this returns it has given everything back."""
        ahead, self.ahead = self.ahead, None
        assert ahead is not None
        target, rows = self.call.plan.stages[ahead.stage].target, len(ahead.about)
        ahead.asking.cancel()
        await asyncio.wait([ahead.asking])
        error = None if ahead.asking.cancelled() else ahead.asking.exception()  # asking for it marks it as seen
        if isinstance(error, InferenceError):
            error.ended()
        self._needless = Asked(target.variant, rows, self._clock() - ahead.began, None)

    def answer(self) -> Answer:
        """All of it as one answer."""
        call, plan = self.call, self.call.plan
        shares = self._shares()
        version = shares[0].version if len(shares) == 1 else ""
        given = self.escalation.outputs([output.name for output in call.request.outputs])
        response = InferenceResponse(call.model, version, call.request.id, {}, Tensors(given))
        return Answer(
            response,
            shares,
            cost=self._cost(),
            backend_seconds=self._seconds,
            escalation=self._escalation(plan),
            asks=self._asks() if plan.sample else (),
            owners=self._owners(shares) if plan.cache is not None or plan.audit is not None else (),
            planned=self._planned and not self.skipped,
        )

    def _cost(self) -> float:
        if self._bill is not None:
            return self._bill.paid - self._before
        return self._paid + self._vain

    def _owners(self, shares: tuple[Share, ...]) -> tuple[int, ...]:
        places = {share.variant: place for place, share in enumerate(shares)}
        return tuple([places[self.answers[stage].shares[0].variant] for stage in self.escalation.owners()])

    def _asks(self) -> tuple[Asked, ...]:
        scores = self.escalation.scores
        asked = [
            Asked(share.variant, share.rows, answer.backend_seconds, scores.get(stage))
            for stage, answer in self.answers.items()
            for share in answer.shares
        ]
        return (*asked, self._needless) if self._needless else tuple(asked)

    def _shares(self) -> tuple[Share, ...]:
        found: dict[str, Share] = {}
        for stage, rows in self.escalation.shares():
            share = self.answers[stage].shares[0]
            before = found.get(share.variant)  # a fallback may be a stage of its own too
            rows += before.rows if before else 0
            found[share.variant] = share if rows == share.rows else Share(share.variant, rows, share.model, share.version)
        return tuple(found.values())

    def _escalation(self, plan: Plan) -> str:
        if self.skipped:
            return f"skipped;{self.skipped}"
        if self.answers.keys() == {0}:
            return "none"
        return "→".join([plan.stages[stage].target.variant for stage in range(max(self.answers) + 1)])
