"""A till for tests of budgets: a policy over one clock."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from backends.inference import InferenceResponse, Tensors
from policies.budget import BudgetPolicy, LocalTreasury
from policies.call import Answer, Call, LimitedError
from routing.budgets import Budget, Sum
from routing.cost import Costs
from routing.limits import Bound, Limit
from routing.principal import Principal

Make = Callable[..., Call]
Reply = Callable[[Call, dict[str, list[float]]], Answer]
NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z
STAGES = (("fast", 0.9), ("dear", None))


def limit(cost: float = 0.0, escalations: float = 0.0, per: str = "tenant", name: str = "own") -> Limit:
    """Of a day."""
    found = [("cost", cost), ("escalations", escalations)]
    return Limit(name, Bound(), per, (), tuple(Budget(kind, Sum(sum_, "day")) for kind, sum_ in found if sum_))  # type: ignore[arg-type]


class Till:
    """A policy over one clock, and what was told of refusals."""

    def __init__(self, *limits: Limit, costs: Costs | None = None) -> None:
        self.now = NOON
        self.costs = costs or Costs()
        self.refused: list[str] = []
        self.treasury = LocalTreasury(lambda: self.now)
        self.policy = BudgetPolicy(limits, self.treasury, self.costs, lambda: self.now, self.refused.append)

    async def fits(self, call: Call, cost: float) -> bool:
        """Whether a question was let through that cost so much then."""

        async def ask(asked: Call) -> Answer:
            paid(asked, cost)
            return answered(asked, cost)

        try:
            await self.policy(call, ask)
        except LimitedError:
            return False
        return True


def paid(call: Call, cost: float) -> None:
    """As the core tells it."""
    if call.bill is not None:
        call.bill.asked()
        call.bill.pay(cost)


def answered(call: Call, cost: float) -> Answer:
    """One with nothing in it."""
    return Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (), cost, 0.0)


def of(call: Call, tenant: str) -> Call:
    """The same, of another tenant."""
    return replace(call, principal=Principal("ann", tenant))


async def never(call: Call) -> Answer:
    """Below nobody is asked."""
    raise AssertionError("nobody is asked")
