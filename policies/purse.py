"""Says whether rows may go up a cascade: not beyond what their question may cost, nor beyond the cascade's own share."""

from __future__ import annotations

from policies.call import Call
from routing.cost import Costs, bound
from routing.plan import Target

SAVED = 256.0  # rows that a cascade may send up at once, whatever its share, after it has sent up few


class Purses:
    """Implements policies.cascade.Purse. A cascade's share is kept in each process, by model and route; outlives every policy.

    Every row that comes in earns its share, every row that goes up spends one. Rows go up while something is left, all together
    that one question has: so never more go up than the share of the rows, what was saved, and one question's.
    """

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._credits: dict[tuple[str, str], float] = {}

    def began(self, call: Call) -> None:
        """A question enters a cascade that has a budget."""
        plan, key = call.plan, (call.model, call.plan.route)
        if plan.budget is not None:
            earned = plan.budget * (call.request.rows or 1)
            self._credits[key] = min(SAVED, self._credits.get(key, SAVED * plan.budget) + earned)

    def may(self, call: Call, target: Target, rows: int, seconds: float) -> bool:
        """Whether the target may be asked about so many rows, for so long; then they count."""
        key = (call.model, call.plan.route)
        if call.plan.budget is not None and self._credits.get(key, 0.0) <= 0:
            return False
        if call.bill is not None and not call.bill.allows(rows, bound(call.plan, target, rows, seconds)):
            return False
        if call.plan.budget is not None:
            self._credits[key] -= rows
        return True
