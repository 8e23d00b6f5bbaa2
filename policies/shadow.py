"""Asks a candidate what somebody else has answered already, and counts how the two answers differ; it answers nobody.

    answered ──drawn──> (refused: spared, budget, room …)
                └─> waiting ──place──> asked ──> compared, or timeout, error
                       └─> late

Whoever asked has the answer before anything of this begins: the mirror is work of its own, with its own deadline, its own
connections and its own bounds, and what becomes of it changes nothing for anybody. The primary's second answer, by which its own
noise is known, is asked at the same time as the candidate's, so that the two stand under the same conditions.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse
from backends.protocols.v2_http_response import HttpAnswer
from policies.beside import Places, Runner, Spawn, Work
from policies.call import Answer, Ask, Call
from routing.plan import Mirror, Plan
from routing.principal import spared
from routing.shadow.compare import Found, compare, printable
from routing.shadow.pairs import Pair, Side, side
from routing.shadow.shadows import Shadow
from routing.shadow.tally import Ledger, Paired, differs

LARGE = 64 << 10  # bytes of an answer that is compared beside the loop
MAX_SHOWN = 1000  # characters of a payload that is kept


class Keep(Protocol):
    """Who writes pairs of answers down. Never raises, never waits."""

    def keep(self, pair: Pair) -> None:
        """One question's."""
        ...

    def missed(self, model: str, shadow: str, why: str) -> None:
        """A question of which there is nothing to write, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What mirrors are made with. `told` hears of each by model, shadow and outcome; `wall` is seconds since 1970. `keep` None:
    no pairs are written down."""

    spawn: Spawn
    clock: Callable[[], float]
    wall: Callable[[], float]
    chance: Callable[[], float]
    told: Callable[[str, str, str], None]
    aside: Runner
    keep: Keep | None = None
    paid: Callable[[str, str, float], None] = lambda *_: None  # told by model and shadow what asking has cost
    held: Callable[[str, Shadow, bool, bool], None] = lambda *_: None  # whether candidate and second answer differ from the first


class Account(Places):
    """One shadow's bounds, and what it has seen; outlives the policy that asked for it."""

    def __init__(self, epoch: str, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.ledger = Ledger(epoch)

    def follow(self, epoch: str) -> None:
        """What was compared by other rules counts no more."""
        if self.ledger.epoch != epoch:
            self.ledger = Ledger(epoch)


class _Job(msgspec.Struct, frozen=True, gc=False):
    """One question that is to be mirrored. `answer` None: the primary failed, for the reason `outcome`."""

    mirror: Mirror
    call: Call
    answer: Answer | None
    outcome: str
    since: float


class _Heard(msgspec.Struct, frozen=True, gc=False):
    """What one ask came to: `ok` and an answer, or an error's kind."""

    outcome: str
    answer: Answer | None = None
    seconds: float = 0.0


Accounts = dict[tuple[str, str], Account]


class ShadowPolicy:
    """Stands behind whatever answers without asking, so that one real question has one mirror, and before the cascade, so that
    the question is mirrored and not each tier. `asks` are by shadow: the way to the backends over connections of its own."""

    def __init__(self, asks: Mapping[str, Ask], accounts: Accounts, means: Means) -> None:
        self._asks = asks
        self._accounts = accounts
        self._means = means

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer from below, untouched."""
        chance = self._means.chance
        drawn = [each for each in call.plan.mirrors if chance() < each.shadow.fraction]
        return self._beside(call, ask, drawn) if drawn else ask(call)

    def streamed(self, call: Call) -> None:
        """A stream is not mirrored: it is counted where it would have been."""
        for mirror in call.plan.mirrors:
            self._tell(call, mirror.shadow, "stream")

    async def _beside(self, call: Call, ask: Ask, drawn: list[Mirror]) -> Answer:
        try:
            answer = await ask(call)
        except InferenceError as error:
            for mirror in drawn:
                self._take(mirror, call, None, error.kind)
            raise
        for mirror in drawn:
            self._take(mirror, call, answer, None)
        return answer

    def _take(self, mirror: Mirror, call: Call, answer: Answer | None, error: ErrorKind | None) -> None:
        """Begins a mirror, puts it into the queue, or counts why not. Never raises."""
        shadow, account = mirror.shadow, self._account(call.model, mirror.shadow)
        if account is None:  # a question from before a reload
            return
        refused = _unfit(shadow, call, answer, error)
        if not refused:
            job = _Job(mirror, call, answer, "ok" if error is None else error.value, self._means.clock())
            work = Work(2 * call.size, lambda: self._mirrored(account, job), lambda word: self._tell(call, shadow, word))
            refused = account.offer(shadow, work, self._means.spawn, "mirror")
        if refused:
            self._tell(call, shadow, refused)

    async def _mirrored(self, account: Account, job: _Job) -> str:
        shadow, plan = job.mirror.shadow, job.mirror.candidate
        now, timeout = self._means.clock(), shadow.timeout or plan.timeout
        if now - job.since > timeout:
            return "late"
        deadline, ask = Deadline(now + timeout), self._asks[shadow.name]
        candidate, again = await self._both(ask, job, deadline)
        cost = _cost(candidate) + _cost(again)
        account.spent(cost)
        self._means.paid(job.call.model, shadow.name, cost)
        if ErrorKind.OVERLOADED in (candidate.outcome, again and again.outcome):  # which says nothing of the answers
            return "overloaded"
        primary = _Heard(job.outcome, job.answer, job.answer.backend_seconds if job.answer else 0.0)
        try:
            found, noise = await self._compared(shadow, primary, candidate, again)
        except OSError:
            return "busy"
        if account.ledger.epoch == shadow.epoch:
            paired = self._paired(job, (primary, candidate, again), found, noise)
            account.ledger.add(paired, _versions(shadow, primary, candidate))
            if noise is not None:
                self._means.held(job.call.model, shadow, differs(found), differs(noise))
            alone = len(job.call.plan.stages) == 1  # of a cascade only questions would be seen that all went the same way
            if self._means.keep and shadow.record and alone and primary.answer and candidate.answer:
                await self._keep(self._means.keep, job, primary.answer, candidate.answer)
        if candidate.outcome == "ok":
            return "compared"
        return "timeout" if candidate.outcome == ErrorKind.DEADLINE else "error"

    async def _both(self, ask: Ask, job: _Job, deadline: Deadline) -> tuple[_Heard, _Heard | None]:
        """The candidate's answer, and the primary's second if it is drawn, asked at the same time."""
        mirror, call = job.mirror, job.call
        if self._means.chance() >= mirror.shadow.noise:
            return await self._ask(ask, call, mirror.candidate, deadline), None
        turned = self._means.chance() >= 0.5  # whoever is asked second may be answered otherwise: it is each as often
        plans = (mirror.again, mirror.candidate) if turned else (mirror.candidate, mirror.again)
        first, second = await asyncio.gather(*(self._ask(ask, call, plan, deadline) for plan in plans))
        return (second, first) if turned else (first, second)

    async def _ask(self, ask: Ask, call: Call, plan: Plan, deadline: Deadline) -> _Heard:
        try:
            answer = await ask(replace(call, plan=plan, deadline=deadline, key=b"", bill=None))
        except InferenceError as error:
            error.ended()
            return _Heard(error.kind.value)
        return _Heard("ok", answer, answer.backend_seconds)

    async def _compared(
        self, shadow: Shadow, primary: _Heard, candidate: _Heard, again: _Heard | None
    ) -> tuple[tuple[Found, ...], tuple[Found, ...] | None]:
        answers = [each.answer.response for each in (primary, candidate, again) if each is not None and each.answer is not None]

        def work() -> tuple[tuple[Found, ...], tuple[Found, ...] | None]:
            rules = dict(shadow.rules)
            return _held(primary, candidate, rules), None if again is None else _held(primary, again, rules)

        if any(_large(response) for response in answers):
            return await self._means.aside(work)
        return work()

    def _paired(
        self,
        job: _Job,
        heard: tuple[_Heard, _Heard, _Heard | None],
        found: tuple[Found, ...],
        noise: tuple[Found, ...] | None,
    ) -> Paired:
        call, shadow, again = job.call, job.mirror.shadow, heard[2]
        kept = shadow.payloads and any(each.score > 1 for each in found)
        return Paired(
            _id(call),
            self._means.wall(),
            _traits(call),
            *_together(found, noise),
            (heard[0].seconds, heard[1].seconds, again.seconds if again else None),
            (_cost(heard[0]), _cost(heard[1]), _cost(again)),
            _payload(call, heard[0], heard[1]) if kept else {},
        )

    async def _keep(self, keep: Keep, job: _Job, *answers: Answer) -> None:
        call, shadow = job.call, job.mirror.shadow

        def work() -> list[Side]:
            return [_side(shadow, call, answer) for answer in answers]

        try:
            large = any(_large(answer.response) for answer in answers)
            one, other = await self._means.aside(work) if large else work()
        except OSError:  # too much waits there already: one pair less
            return
        except InferenceError as error:
            error.ended()
            keep.missed(call.model, shadow.name, error.message)
            return
        keep.keep(Pair(call.model, shadow.name, _id(call), self._means.wall(), (one, other)))

    def _account(self, model: str, shadow: Shadow) -> Account | None:
        """None where the policy in force has no such shadow any more, or it means something else by it."""
        account = self._accounts.get((model, shadow.name))
        return account if account is not None and account.ledger.epoch == shadow.epoch else None

    def _tell(self, call: Call, shadow: Shadow, outcome: str) -> None:
        account = self._account(call.model, shadow)
        if account is not None:
            account.ledger.count(outcome)
        self._means.told(call.model, shadow.name, outcome)


def _unfit(shadow: Shadow, call: Call, answer: Answer | None, error: ErrorKind | None) -> str:
    """Why this question says nothing of the candidate, or must not be asked again; "" if neither."""
    if spared(shadow, call.principal):
        return "spared"
    if not call.request.repeatable:
        return "not-repeatable"
    if answer is None:
        return "" if error is ErrorKind.BROKEN else "failed"  # of all others the primary's answers are not the reason
    if not answer.planned:
        return "stand-in"
    return "" if not shadow.of or any(share.variant == shadow.of for share in answer.shares) else "not-asked"


def _id(call: Call) -> str:
    return call.question.request_id if call.question else call.request.id


def _side(shadow: Shadow, call: Call, answer: Answer) -> Side:
    """Raises InferenceError where the answer is of several variants, or lacks what is to be recorded."""
    if len(answer.shares) != 1 or shadow.record is None:
        raise InferenceError(ErrorKind.BROKEN, "its rows are answered by several variants")
    share = answer.shares[0]
    return side(shadow.record, (share.variant, share.version), answer.response.payload.tensors(), call.request.rows or 1)


def _held(one: _Heard, other: _Heard, rules: Mapping[str, Any]) -> tuple[Found, ...]:
    """The one answer against the other, `status` and then, where there are two answers, what is in them."""
    same = one.outcome == other.outcome
    status = Found("status") if same else Found("status", math.inf, f"{one.outcome} → {other.outcome}")
    if one.answer is None or other.answer is None:
        return (status,)
    try:
        return (status, *compare(one.answer.response.payload.tensors(), other.answer.response.payload.tensors(), rules))
    except InferenceError as error:  # the one or the other cannot be read, though nobody has found out yet
        error.ended()
        return (Found("status", math.inf, "unreadable"),)


def _together(found: tuple[Found, ...], noise: tuple[Found, ...] | None) -> tuple[tuple[Found, ...], tuple[Found, ...] | None]:
    """Of a pair, only the fields that both have: else who fails would be held against who does not, output by output."""
    if noise is None:
        return found, None
    names = {each.field for each in found} & {each.field for each in noise}
    return tuple(each for each in found if each.field in names), tuple(each for each in noise if each.field in names)


def _large(response: InferenceResponse) -> bool:
    payload = response.payload
    if isinstance(payload, HttpAnswer):  # whose JSON may take long to read
        return len(payload.whole) > LARGE
    try:
        return sum(len(tensor.data) for tensor in payload.tensors()) > LARGE
    except InferenceError:  # which the comparison tells of
        return False


def _versions(shadow: Shadow, primary: _Heard, candidate: _Heard) -> tuple[str, str]:
    return _version(primary.answer, shadow.of) if shadow.of else "", _version(candidate.answer, shadow.to)


def _version(answer: Answer | None, variant: str) -> str:
    shares = answer.shares if answer is not None else ()
    return next((share.version for share in shares if share.variant == variant), "")


def _cost(heard: _Heard | None) -> float:
    return heard.answer.cost if heard is not None and heard.answer is not None else 0.0


def _traits(call: Call) -> dict[str, str]:
    shape = " ".join(f"{spec.name}[{'×'.join(map(str, spec.shape))}]" for spec in call.request.inputs[:4])
    principal = call.principal
    traits = {"tenant": principal.tenant, "tier": principal.tier, "route": call.plan.route, "shape": shape}
    return {name: printable(value, 64) for name, value in traits.items() if value}


def _payload(call: Call, primary: _Heard, candidate: _Heard) -> dict[str, str]:
    """Of question and answers the beginning of each tensor; nothing of a question that would take long to read."""
    if call.size > LARGE or any(each.answer is not None and _large(each.answer.response) for each in (primary, candidate)):
        return {}
    whole = {"question": call.request.payload.tensors()}
    for name, heard in (("primary", primary), ("candidate", candidate)):
        if heard.answer is not None:
            whole[name] = heard.answer.response.payload.tensors()
    return {
        f"{who} {printable(tensor.name, 64)}": str(tensor.array().ravel()[:64].tolist())[:MAX_SHOWN]
        for who, tensors in whole.items()
        for tensor in tensors[:8]
    }
