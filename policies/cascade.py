"""Asks the cheap model first and sends up only the rows it was not sure of; the rules are routing/cascade/escalation.py's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec.structs import replace

from backends.deadline import RESERVE, Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.tensors import Tensor
from policies.call import Answer, Ask, Asked, Call, Observer, Share
from routing.cascade.escalation import Escalation, part, questions
from routing.plan import Plan, Target


class Purse(Protocol):
    """Who pays for going up."""

    def may(self, call: Call, target: Target, rows: int) -> bool:
        """Whether the target may be asked about so many rows; False: they keep the answer they have."""
        ...


class CascadePolicy:
    """Chooses the target: the plan's only one, or stage by stage."""

    def __init__(self, observer: Observer, clock: Callable[[], float], purse: Purse | None = None) -> None:
        self._observer = observer
        self._clock = clock
        self._purse = purse

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer of the plan's only target, or of all its stages; without a cascade the layer adds nothing to wait for."""
        if len(call.plan.stages) == 1:
            return ask(replace(call, target=call.plan.stages[0].target))
        return self._climb(call, ask)

    async def _climb(self, call: Call, ask: Ask) -> Answer:
        """One answer with every row from the cheapest stage that was sure of it.

        Once a first answer is in hand, a later stage that fails or has no time left does not lose it: those rows keep the answer
        they have, and `escalation` says `skipped;deadline`, `skipped;budget` or `skipped;error`.
        """
        assert call.plan.confidence is not None
        request, tensors = questions(call.request, call.plan.confidence)
        climb = _Climb(call, Escalation(call.plan, request.rows))
        await climb.ask(ask, 0, request, call.deadline)
        for stage in range(1, len(call.plan.stages)):
            if not climb.escalation.unsure:
                break
            outcome = await self._go_up(climb, stage, request, tensors, ask)
            source, target = (call.plan.stages[index].target.variant for index in (stage - 1, stage))
            self._observer.escalated(call.model, source, target, outcome)
            if outcome != "asked":
                climb.skipped = outcome
                break
        return climb.answer()

    async def _go_up(self, climb: _Climb, stage: int, request: InferenceRequest, tensors: tuple[Tensor, ...], ask: Ask) -> str:
        deadline = climb.call.deadline.less(RESERVE)  # its failing must come before the call's own
        if deadline.at <= self._clock():
            return "deadline"
        rows = climb.escalation.unsure
        if self._purse is not None and not self._purse.may(climb.call, climb.call.plan.stages[stage].target, len(rows)):
            return "budget"
        question = request if len(rows) == (request.rows or 1) else part(request, tensors, rows)
        try:
            await climb.ask(ask, stage, question, deadline)
        except InferenceError as error:
            error.ended()
            return "deadline" if error.kind is ErrorKind.DEADLINE else "error"
        return "asked"


class _Climb:
    """What one call has gathered on its way up."""

    def __init__(self, call: Call, escalation: Escalation) -> None:
        self.call = call
        self.escalation = escalation
        self.answers: dict[int, Answer] = {}
        self.skipped = ""

    async def ask(self, ask: Ask, stage: int, request: InferenceRequest, deadline: Deadline) -> None:
        """Asks one stage about the rows still unsure and takes in what it says."""
        plan = self.call.plan
        answer = await ask(replace(self.call, target=plan.stages[stage].target, request=request, deadline=deadline))
        self.answers[stage] = answer  # paid for, whether or not it can be used
        self.escalation.answered(stage, answer.response.payload.tensors())

    def answer(self) -> Answer:
        """All of it as one answer."""
        request = self.call.request
        keep = frozenset(output.name for output in request.outputs)
        shares = self._shares()
        version = shares[0].version if len(shares) == 1 else ""
        response = InferenceResponse(self.call.model, version, request.id, {}, Tensors(self.escalation.outputs(keep)))
        return Answer(
            response,
            shares,
            cost=sum(answer.cost for answer in self.answers.values()),
            backend_seconds=sum(answer.backend_seconds for answer in self.answers.values()),
            escalation=self._escalation(self.call.plan),
            asks=self._asks() if self.call.plan.sample else (),
            owners=self._owners(shares) if self.call.plan.cache is not None or self.call.plan.audit is not None else (),
            planned=not self.skipped and all(answer.planned for answer in self.answers.values()),
        )

    def _owners(self, shares: tuple[Share, ...]) -> tuple[int, ...]:
        places = {share.variant: place for place, share in enumerate(shares)}
        return tuple(places[self.answers[stage].shares[0].variant] for stage in self.escalation.owners())

    def _asks(self) -> tuple[Asked, ...]:
        scores = self.escalation.scores
        return tuple(
            Asked(share.variant, share.rows, answer.backend_seconds, scores.get(stage))
            for stage, answer in self.answers.items()
            for share in answer.shares
        )

    def _shares(self) -> tuple[Share, ...]:
        found: dict[str, Share] = {}
        for stage, rows in self.escalation.shares():
            share = self.answers[stage].shares[0]
            before = found.get(share.variant)  # a fallback may be a stage of its own too
            found[share.variant] = replace(share, rows=rows + (before.rows if before else 0))
        return tuple(found.values())

    def _escalation(self, plan: Plan) -> str:
        if self.skipped:
            return f"skipped;{self.skipped}"
        if len(self.answers) == 1:
            return "none"
        return "→".join(plan.stages[stage].target.variant for stage in range(len(self.answers)))
