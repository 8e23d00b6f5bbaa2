"""Reserves what a question may cost before anybody is asked, and settles what it has cost when nobody is asked any more.

Stands behind the cache: what is kept costs nothing, and is given to whoever has spent everything, too. Stands before what joins
equal questions, so that each has its own: the one that asks pays, the others settle nothing.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from policies.call import Answer, Ask, Call, Counted, LimitedError, Quota, StreamAsk
from routing.bill import Bill
from routing.budgets import COME_BACK, Accounts, Budget, Grant, Want, period_of
from routing.cost import Costs, bound, whole
from routing.demand import Verdict
from routing.limits import Limit, accounts, binds
from routing.principal import Principal

REMEMBERED = 8192  # principals with a model, and what binds them there
_SECONDS = {"hour": 3600, "day": 86_400, "month": 31 * 86_400}


class Treasury(Protocol):
    """Who keeps accounts: this process alone, or a store that several share."""

    def take(self, wants: Sequence[Want]) -> Grant | Awaitable[Grant]:
        """All of the wants, each at least with its least, or nothing. Never raises InferenceError: whoever cannot reach its store
        decides alone. An awaitable that is cancelled holds nothing.
        """
        ...

    def settle(self, wants: Sequence[Want], grant: Grant, used: Sequence[float]) -> None:
        """Of what was granted so much has been used, less or more; once for each grant. Never raises, never waits."""
        ...


class LocalTreasury:
    """Keeps accounts in this process. Of so many `processes` for the same clients each may spend its part."""

    def __init__(self, wall: Callable[[], float], processes: int = 1) -> None:
        self._accounts = Accounts()
        self._wall = wall
        self._processes = processes

    def take(self, wants: Sequence[Want]) -> Grant:
        """All of the wants, or nothing."""
        return self._accounts.take([want.part(self._processes) for want in wants], self._wall())

    def settle(self, wants: Sequence[Want], grant: Grant, used: Sequence[float]) -> None:
        """They have ended."""
        self._accounts.settle(wants, grant, used, self._wall())


class _Bound(NamedTuple):
    """A limit that binds a principal's questions to a model, with one of its budgets and the account that pays for them."""

    limit: Limit
    budget: Budget
    account: str
    counted: Counted


class _Reserved(NamedTuple):
    """What a question may spend; wants, and which budget each is of."""

    wants: tuple[Want, ...]
    bound: tuple[_Bound, ...]
    grant: Grant
    first: float  # what its first stage costs at most

    def most(self, kind: str) -> float:
        """Of this kind, by the tightest budget."""
        amounts = [amount for each, amount in zip(self.bound, self.grant.amounts, strict=True) if each.budget.kind == kind]
        return min(amounts, default=math.inf)

    def at_most(self, used: Sequence[float]) -> list[float]:
        """No more than could be: where this process stood still, an ask has taken longer than its question had."""
        return [min(each, want.most) for each, want in zip(used, self.wants, strict=True)]


class BudgetPolicy:
    """`limited` is told the name of the limit each time one refuses; `wall` is Unix time in seconds."""

    def __init__(
        self,
        limits: Sequence[Limit],
        treasury: Treasury,
        costs: Costs,
        wall: Callable[[], float],
        limited: Callable[[str], None],
    ) -> None:
        self._limits = [limit for limit in limits if limit.budgets]
        self._treasury = treasury
        self._costs = costs
        self._wall = wall
        self._limited = limited
        self._known: dict[tuple[Principal, str], tuple[_Bound, ...]] = {}
        self._periods: dict[str, tuple[str, float]] = {}  # those that run now

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer from below, with what is left; raises LimitedError. Questions that no budget counts pass as they are."""
        bound = self._bound(call)
        return self._answer(call, ask, bound) if bound else ask(call)

    def stream(self, call: Call, ask: StreamAsk) -> AsyncGenerator[Answer, None]:
        """The same of a question with any number of answers, settled after the last."""
        bound = self._bound(call)
        return self._answers(call, ask, bound) if bound else ask(call)

    async def _answer(self, call: Call, ask: Ask, bound: tuple[_Bound, ...]) -> Answer:
        reserved = await self._reserve(call, bound)
        bill = self._bill(reserved)
        try:
            return replace(await ask(replace(call, bill=bill)), quota=_quota(reserved, self._wall()))
        finally:
            bill.close()

    async def _answers(self, call: Call, ask: StreamAsk, bound: tuple[_Bound, ...]) -> AsyncGenerator[Answer, None]:
        reserved = await self._reserve(call, bound)
        bill, quota = self._bill(reserved), _quota(reserved, self._wall())
        try:
            async with aclosing(ask(replace(call, bill=bill))) as answers:
                async for answer in answers:
                    yield replace(answer, quota=quota)
        finally:
            bill.close()

    async def _reserve(self, call: Call, bounds: tuple[_Bound, ...]) -> _Reserved:
        """Raises LimitedError."""
        plan, rows, seconds = call.plan, call.request.rows or 1, _seconds(call)
        first = bound(plan, plan.stages[0].target, rows, seconds)
        least = min(first, self._costs.stage(call.model, plan, rows))
        cost = least, first, whole(plan, rows, seconds)
        sums = {"cost": cost, "escalations": (0.0, 0.0, rows * (len(plan.stages) - 1.0))}
        wants = tuple([self._want(each, sums[each.budget.kind]) for each in bounds])
        found = self._treasury.take(wants)
        reserved = _Reserved(wants, bounds, found if isinstance(found, Grant) else await found, first)
        if reserved.grant.refused is not None:
            raise self._refused(reserved, reserved.grant.refused)
        return reserved

    def _want(self, bound: _Bound, sums: tuple[float, float, float]) -> Want:
        now, total, (least, first, most) = self._wall(), bound.budget.sum, sums
        name, ends = self._periods.get(total.period, ("", 0.0))
        if now >= ends or now < ends - _SECONDS[total.period]:  # a clock that was set back is in an earlier one
            name, ends = self._periods[total.period] = period_of(total.period, now)
        return Want(f"{bound.account}:{name}", least, most, total.amount, ends, first)

    def _bill(self, reserved: _Reserved) -> Bill:
        def settle(paid: float, raised: int) -> None:
            used = [paid if each.budget.kind == "cost" else float(raised) for each in reserved.bound]
            self._treasury.settle(reserved.wants, reserved.grant, reserved.at_most(used))

        return Bill(reserved.most("cost"), reserved.first, reserved.most("escalations"), settle)

    def _refused(self, reserved: _Reserved, at: int) -> LimitedError:
        limit, want, now = reserved.bound[at].limit, reserved.wants[at], self._wall()
        self._limited(limit.name)
        pause = max(0.0, want.ends - now)
        if not reserved.grant.spent:
            pause = min(pause, COME_BACK)
        return LimitedError(_said(reserved, at), _quota(reserved, now, pause))

    def _bound(self, call: Call) -> tuple[_Bound, ...]:
        key = (call.principal, call.model)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[key] = tuple(each for limit in self._limits if binds(limit, *key) for each in _bound(limit, *key))
        return found


def _seconds(call: Call) -> float:
    """How long it can be asked at most. A flight that others join has its route's whole time (policies/coalesce.py)."""
    until = call.deadline.at
    return (max(until, call.received + call.plan.timeout) if call.key else until) - call.received


def _bound(limit: Limit, principal: Principal, model: str) -> Iterator[_Bound]:
    for budget, account in zip(limit.budgets, accounts(limit, principal, model), strict=True):
        total = budget.sum
        yield _Bound(limit, budget, account, Counted(limit.name, budget.kind, math.ceil(total.amount), _SECONDS[total.period]))


def _quota(reserved: _Reserved, now: float, pause: float = 0.0) -> Quota:
    """What is left once what is reserved is spent; it may be more."""
    left, at = reserved.grant.left, reserved.grant.refused
    counted = tuple([each.counted for each in reserved.bound])
    shares = [part / want.amount for part, want in zip(left, reserved.wants, strict=True)]
    told = shares.index(min(shares)) if at is None else at
    verdict = Verdict(at, pause, math.floor(left[told]), max(0.0, reserved.wants[told].ends - now), told)
    return Quota(counted, verdict)


def _said(reserved: _Reserved, at: int) -> str:
    bound, want = reserved.bound[at], reserved.wants[at]
    name, total = bound.limit.name, f"{bound.budget.sum.amount:g} a {bound.budget.sum.period}"
    if want.least > want.amount * (1 + 1e-9):
        return f"limit '{name}' allows a cost of {total}, and this question alone costs {want.least:g}: ask for fewer rows"
    if not reserved.grant.spent:
        return f"limit '{name}' has its cost of {total} reserved for questions in flight: try again when one has ended"
    again = datetime.fromtimestamp(want.ends, UTC).strftime("%Y-%m-%dT%H:%MZ")
    left = reserved.grant.left[at]
    fewer = "" if not left else f", of which {left:g} is left, and this question costs {want.least:g}"
    return f"limit '{name}' has spent its cost of {total}{fewer}: ask for fewer rows, or again at {again}, when it begins anew"
