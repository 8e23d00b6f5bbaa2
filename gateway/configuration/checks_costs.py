"""Judges what a document says of money: can a token be counted, does a budget ever decide, does it pay for anything at all?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_costs import Cost, cheaper, cost_text
from gateway.configuration.schema_limits import Limit, limit_name
from routing.price import MOST_TOKENS


def check_costs(found: Findings, path: Path, model: policy.Model) -> None:
    """Notes in `found` prices of tokens that nobody counts, and budgets of a cascade that allow nothing or everything."""
    for name, variant in model.variants.items():
        here, cost = (*path, "variants", name, "cost"), variant.cost
        if cost.token and cost.tokens is None:
            found.wrong(here, "'tokens' is missing: which output says how many tokens there were?")
        if cost.tokens is not None and not cost.token:
            found.wrong((*here, "tokens"), "is what the price of a token is counted by, and a token costs nothing here")
        _check_mosts(found, here, cost)
    for index, route in enumerate(model.routes):
        budget = None if route.cascade is None else route.cascade.budget
        if budget is not None and budget.share in (0.0, 1.0):
            says = "no row would ever go up; ask the first stage alone" if not budget.share else "all rows may go up without it"
            found.wrong((*path, "routes", index, "cascade", "budget", "share"), says)


def _check_mosts(found: Findings, here: Path, cost: Cost) -> None:
    if cost.most_ms is not None and not cost.gpu_ms:
        found.wrong((*here, "most_ms"), "never decides: time costs nothing here")
    if cost.most_tokens is not None and not cost.token:
        found.wrong((*here, "most_tokens"), "never decides: a token costs nothing here")
    elif (cost.most_tokens or 0) > MOST_TOKENS:
        found.wrong((*here, "most_tokens"), f"no more than {MOST_TOKENS:,} tokens of a row are ever paid for")


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
    """Notes limits whose budget nothing is ever paid from, or pays for nothing; and tokens of which it cannot say how many to
    reserve."""
    if ("models",) in found.spoiled:
        return
    unbounded: dict[Path, str] = {}
    for index, limit in enumerate(document.limits):
        if limit.escalations is not None and not any(route.cascade for model in _of(limit, document) for route in model.routes):
            message = "never decides: no model that it counts has a cascade, so no row ever goes up"
            found.wrong(("limits", index, "escalations"), message)
        if limit.cost is None:
            continue
        costs: dict[Path, Cost] = {
            ("models", name, "variants", variant, "cost"): each.cost
            for name, model in _named(limit, document)
            for variant, each in model.variants.items()
        }
        cheapest = min([cost.row + cost.call for cost in costs.values()], default=0.0)
        if all(cost == Cost() for cost in costs.values()):
            message = "never decides: nothing that it counts costs anything; give the variants a cost"
            found.wrong(("limits", index, "cost"), message)
        elif limit.cost.amount < cheapest and not found.spoiled.intersection(costs):
            message = f"{limit.cost.amount:g} pays for no question: the cheapest that it counts costs {cheapest:g}"
            found.wrong(("limits", index, "cost"), message)
        for path, cost in costs.items():
            if cost.token and cost.most_tokens is None:
                unbounded.setdefault(path, limit_name(limit, index))
    for here, name in unbounded.items():
        message = f"'most_tokens' is missing: limit {shown(name)} reserves so many tokens of a row before it asks"
        found.wrong(here, message)


def _of(limit: Limit, document: policy.PolicyDocument) -> Iterator[policy.Model]:
    return (model for _, model in _named(limit, document))


def _named(limit: Limit, document: policy.PolicyDocument) -> Iterator[tuple[str, policy.Model]]:
    named = limit.match.model if limit.match else ()
    return ((name, model) for name, model in document.models.items() if not named or name in named)
