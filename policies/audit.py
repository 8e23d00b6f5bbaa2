"""Asks the dearest stage about a random share of the rows that a cascade kept, and counts how many it answers otherwise.

    answered ──a kept row drawn──> (refused: spared, skipped, budget, room …)
                       └─> waiting ──place──> asked ──> same or different, or timeout, error
                              └─> late

Whoever asked has the answer before any of this begins. Every row of a request has the same chance, drawn before anything of the
answer is known; the drawn rows that were kept go up as one question, with its own deadline, connections and bounds. What is
counted here is judged elsewhere, for all processes together; if that has come to the alarm, and the policy says so, the dearest
stage answers alone (`fallen`) until a person or another policy ends it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import log, log1p

import numpy as np
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, RequestedOutput, Tensors
from policies.beside import Places, Runner, Spawn, Work
from policies.call import Answer, Ask, Call
from routing.cascade.audits import Audit, differing, looked_at
from routing.cascade.escalation import part
from routing.cascade.watch import Seen
from routing.plan import Plan, Stage
from routing.principal import spared

MANY = 16  # rows that are compared beside the loop
MOST_SEEN = 10_000  # audited requests that nobody has asked for yet


@dataclass(frozen=True, slots=True)
class Means:
    """What audits are made with. `told` hears what became of each audited request by model, route and outcome, `paid` what it
    cost. `aside` is where work is done that would hold the loop."""

    spawn: Spawn
    clock: Callable[[], float]
    chance: Callable[[], float]
    told: Callable[[str, str, str], None]
    paid: Callable[[str, str, float], None]
    aside: Runner


class Account(Places):
    """One cascade in one process: its bounds, what was seen since anybody asked, and whether the dearest stage answers alone."""

    def __init__(self, epoch: str, means: Means) -> None:
        super().__init__(means.clock)
        self.epoch = epoch
        self.fallen = False
        self.seen: list[Seen] = []
        self.outcomes: dict[str, int] = {}
        self.cost = 0.0
        self._chance = means.chance
        self._share = self._gap = 0.0  # rows until the next that is drawn

    def follow(self, epoch: str) -> None:
        """What was seen by other rules counts no more, and nobody has fallen by these."""
        if self.epoch != epoch:
            self.epoch, self.fallen = epoch, False
            self.seen, self.outcomes, self.cost = [], {}, 0.0

    def drawn(self, rows: int, share: float) -> list[int]:
        """Which of so many rows are drawn, each with the chance `share`, and independently: the gaps are geometric."""
        if share != self._share:
            self._share, self._gap = share, self._next(share)
        found = []
        while self._gap < rows:
            found.append(int(self._gap))
            self._gap += 1 + self._next(share)
        self._gap -= rows
        return found

    def take(self) -> tuple[list[Seen], dict[str, int], float]:
        """What was seen since this was asked last: audited requests in order, outcomes by word, and cost."""
        taken = self.seen, self.outcomes, self.cost
        self.seen, self.outcomes, self.cost = [], {}, 0.0
        return taken

    def _next(self, share: float) -> int:
        return int(log(1 - self._chance()) / log1p(-share)) if share < 1 else 0


Accounts = dict[tuple[str, str], Account]
"""By model and route."""


class AuditPolicy:
    """Stands outside the cascade, whose answer it looks at, and within the shadow: a mirror of the question is not audited.
    `asks` are by route: the way to the dearest stage over connections of its own."""

    def __init__(self, asks: Mapping[str, Ask], accounts: Accounts, means: Means) -> None:
        self._asks = asks
        self._accounts = accounts
        self._means = means

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer from below, untouched; after an alarm, where the policy wants it, the dearest stage's alone."""
        audit, account = call.plan.audit, self._accounts.get((call.model, call.plan.route))
        if audit is None or account is None or account.epoch != audit.epoch:  # the last: a question from before a reload
            return ask(call)
        if account.fallen:
            return ask(replace(call, plan=dearest(call.plan)))
        rows = account.drawn(1 if _whole(call) else call.request.rows or 1, audit.share)
        return self._beside(call, ask, account, rows) if rows else ask(call)

    async def _beside(self, call: Call, ask: Ask, account: Account, rows: list[int]) -> Answer:
        hidden = _hidden(call)
        request = call.request
        if hidden:
            request = replace(request, outputs=(*request.outputs, *hidden), payload=Tensors(request.payload.tensors()))
        answer = await ask(replace(call, request=request))
        self._offer(call, account, answer, rows)
        return _without(answer, frozenset(output.name for output in hidden)) if hidden else answer

    def _offer(self, call: Call, account: Account, answer: Answer, rows: list[int]) -> None:
        """Has the drawn rows that were kept audited, or counts why not. Never raises."""
        audit = call.plan.audit
        assert audit is not None, "an audited plan says how"
        kept = [row for row in rows if _kept(call.plan, answer, row)]
        if not kept:
            return  # the dearest stage has answered them
        refused = _unfit(audit, call, answer)
        if not refused:
            since, about = self._means.clock(), None if _whole(call) else kept
            work = Work(
                2 * call.size,
                lambda: self._audited(call, account, answer, about, since),
                lambda word: self._tell(call, account, word),
            )
            refused = account.offer(audit, work, self._means.spawn, "audit")
        if refused:
            self._tell(call, account, refused)

    async def _audited(self, call: Call, account: Account, answer: Answer, rows: list[int] | None, since: float) -> str:
        audit, now = call.plan.audit, self._means.clock()
        assert audit is not None, "an audited plan says how"
        timeout = audit.timeout or call.plan.timeout
        if now - since > timeout:
            return "late"
        try:
            request = _question(audit, call.request, rows)
            plan = replace(dearest(call.plan), fallback={}, mirrors=(), cache=None, audit=None)
            asked = replace(call, plan=plan, deadline=Deadline(now + timeout), request=request, key=b"", drawn=(), bill=None)
            dear = await self._asks[call.plan.route](asked)
            account.spent(dear.cost)
            account.cost += dear.cost
            self._means.paid(call.model, call.plan.route, dear.cost)
            kept, other = answer.response.payload.tensors(), dear.response.payload.tensors()
        except InferenceError as error:
            error.ended()
            return _FAILED.get(error.kind, "error")
        try:
            bad = await self._compared(lambda: differing(audit, kept, other, rows), 1 if rows is None else len(rows))
        except OSError:
            return "busy"
        if bad is None:
            return "outputs"
        if account.epoch == audit.epoch and not account.fallen and len(account.seen) < MOST_SEEN:
            account.seen.append((bad, 1 if rows is None else len(rows)))
        return "different" if bad else "same"

    async def _compared(self, work: Callable[[], int | None], rows: int) -> int | None:
        return await self._means.aside(work) if rows > MANY else work()

    def _tell(self, call: Call, account: Account, outcome: str) -> None:
        account.outcomes[outcome] = account.outcomes.get(outcome, 0) + 1
        self._means.told(call.model, call.plan.route, outcome)


def dearest(plan: Plan) -> Plan:
    """The plan with its last stage alone."""
    return replace(plan, stages=(Stage(plan.stages[-1].target),), confidence=None, speculate=None)


_FAILED = {ErrorKind.OVERLOADED: "overloaded", ErrorKind.DEADLINE: "timeout"}


def _whole(call: Call) -> bool:
    """Whether all of it is kept or goes up: its rows mean nothing, or a stage answers a row otherwise beside other rows."""
    return not call.request.rows or not all(stage.target.row_independent for stage in call.plan.stages)


def _kept(plan: Plan, answer: Answer, row: int) -> bool:
    """Whether a stage before the last has answered the row."""
    share = answer.shares[answer.owners[row] if row < len(answer.owners) else 0]
    return any(share.variant == stage.target.variant for stage in plan.stages[:-1])


def _unfit(audit: Audit, call: Call, answer: Answer) -> str:
    """Why these rows say nothing of what the cascade keeps because it is sure, or must not be asked; "" if neither."""
    if spared(audit, call.principal):
        return "spared"
    if not call.request.repeatable:
        return "not-repeatable"
    if answer.escalation.startswith("skipped"):  # some were kept that were not sure, and nobody knows here which
        return "skipped"
    if not answer.planned:
        return "stand-in"
    if call.plan.swapped:  # a rollout's candidate is judged by the rollout
        return "rollout"
    return "" if looked_at(audit, answer.response.payload.tensors()) is not None else "outputs"


def _hidden(call: Call) -> tuple[RequestedOutput, ...]:
    """Outputs that the comparison needs, that the client does not want, and that the cascade asks for anyway."""
    plan, wanted = call.plan, {output.name for output in call.request.outputs}
    if not wanted or plan.audit is None or plan.confidence is None:
        return ()
    read = {plan.confidence.output, *(stage.label for stage in plan.stages)}
    return tuple(RequestedOutput(name) for name, _ in plan.audit.rules if name in read - wanted)


def _without(answer: Answer, names: frozenset[str]) -> Answer:
    response = answer.response
    left = tuple(tensor for tensor in response.payload.tensors() if tensor.name not in names)
    return replace(answer, response=replace(response, payload=Tensors(left)))


def _question(audit: Audit, request: InferenceRequest, rows: list[int] | None) -> InferenceRequest:
    """What the dearest stage is asked: these rows, and only what is compared."""
    asked = replace(request, payload=Tensors(request.payload.tensors())) if rows is None else part(request, np.array(rows))
    return replace(asked, outputs=tuple(RequestedOutput(name) for name, _ in audit.rules))
