"""Judges what a document says of money: can a token be counted, does a budget ever decide?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_costs import Cost, cheaper, cost_text
from gateway.configuration.schema_limits import Limit


def check_costs(found: Findings, path: Path, model: policy.Model) -> None:
    """Notes in `found` prices of tokens that nobody counts, and budgets of a cascade that allow nothing or everything."""
    for name, variant in model.variants.items():
        here, cost = (*path, "variants", name, "cost"), variant.cost
        if cost.token and cost.tokens is None:
            found.wrong(here, "'tokens' is missing: which output says how many tokens there were?")
        if cost.tokens is not None and not cost.token:
            found.wrong((*here, "tokens"), "is what the price of a token is counted by, and a token costs nothing here")
    for index, route in enumerate(model.routes):
        budget = None if route.cascade is None else route.cascade.budget
        if budget is not None and budget.share in (0.0, 1.0):
            says = "no row would ever go up; ask the first stage alone" if not budget.share else "all rows may go up without it"
            found.wrong((*path, "routes", index, "cascade", "budget", "share"), says)


def check_order_of_costs(found: Findings, path: Path, uses: list[str], model: tuple[Mapping[str, policy.Variant], Path]) -> None:
    """Notes stages of a cascade that are cheaper than the one before. `path` is the stages'; `model`: variants, and where."""
    variants, declared = model
    for index, (cheap, dear) in enumerate(pairwise(uses), start=1):
        first, second = variants.get(cheap), variants.get(dear)
        unsure = {(*declared, cheap), (*declared, dear)} & found.spoiled  # a cost that could not be read is unknown
        if first and second and not unsure and cheaper(second.cost, first.cost):
            found.wrong(
                (*path, index, "use"),
                f"{shown(dear)} (cost {cost_text(second.cost)}) is cheaper than {shown(cheap)} (cost {cost_text(first.cost)})"
                " before it; a cascade goes from cheap to dear",
            )


def check_budgets(found: Findings, document: policy.PolicyDocument) -> None:
    """Notes limits whose budget nothing is ever paid from."""
    if ("models",) in found.spoiled:
        return
    for index, limit in enumerate(document.limits):
        if limit.escalations is not None and not any(route.cascade for model in _of(limit, document) for route in model.routes):
            message = "never decides: no model that it counts has a cascade, so no row ever goes up"
            found.wrong(("limits", index, "escalations"), message)
        costs = [variant.cost for model in _of(limit, document) for variant in model.variants.values()]
        if limit.cost is not None and all(cost == Cost() for cost in costs):
            message = "never decides: nothing that it counts costs anything; give the variants a cost"
            found.wrong(("limits", index, "cost"), message)


def _of(limit: Limit, document: policy.PolicyDocument) -> Iterator[policy.Model]:
    named = limit.match.model if limit.match else ()
    return (model for name, model in document.models.items() if not named or name in named)
