"""The layers that count a model's questions and their cost against the policy's limits, where some may bind."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence

from policies.budget import BudgetPolicy, Treasury
from policies.call import Answer, Call, Policy, StreamAsk
from policies.direct import Tolls
from policies.limit import LimitPolicy, Meter
from policies.stream_cache import StreamCachePolicy
from routing.cost import Costs
from routing.limits import Limit, may_bind


class Counting:
    """Of one snapshot. `limited` is told the name of the limit each time one refuses."""

    def __init__(
        self, limits: Sequence[Limit], meter: Meter, treasury: Treasury, costs: Costs, limited: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._limit = LimitPolicy(limits, meter, limited)
        self._budget = BudgetPolicy(limits, treasury, costs, time.time, limited)

    def layers(self, model: str) -> dict[str, Policy]:
        """Those that may do something to the model's questions."""
        binding = [limit for limit in self._limits if may_bind(limit, model)]
        found: dict[str, Policy] = {"limit": self._limit} if any(limit.allowances for limit in binding) else {}
        return {**found, "budget": self._budget} if any(limit.budgets for limit in binding) else found

    def tolls(self, model: str) -> Tolls | None:
        """What its limits take of questions that are asked at once; None where it has none."""
        return self._limit.toll if "limit" in self.layers(model) else None

    def stream(self, model: str, stream: StreamAsk, cache: StreamCachePolicy) -> StreamAsk:
        """The same round streams, and their cache in its place between the two."""
        layers = self.layers(model)

        def paid(call: Call) -> AsyncGenerator[Answer, None]:
            return self._budget.stream(call, stream)

        asked = paid if "budget" in layers else stream

        def cached(call: Call) -> AsyncGenerator[Answer, None]:
            return cache(call, asked)

        return (lambda call: self._limit.stream(call, cached)) if "limit" in layers else cached
