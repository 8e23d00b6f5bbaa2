"""Says which budgets leave little room beside questions in flight: each of those holds the most that it can cost."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.configuration.problems import shown
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import limits_of, route_tables
from routing.cost import bound
from routing.limits import may_bind
from routing.match import RouteTable
from routing.plan import Plan
from routing.targets import entrances

ENOUGH = 64  # questions at once


def narrow(document: PolicyDocument) -> Iterator[str]:
    """A note for each budget of which fewer than so many questions of a row, for the time they may take, would hold it all."""
    tables = route_tables(document)
    for limit in limits_of(document):
        for sum_ in (each.sum for each in limit.budgets if each.kind == "cost"):
            found = [dearest(table) for name, table in tables.items() if may_bind(limit, name)]
            holds, variant, model = max(found, default=(0.0, "", ""))
            if holds * ENOUGH > sum_.amount:
                yield (
                    f"limit {shown(limit.name)}: a question of one row to {shown(model)} holds up to {holds:g} of {sum_.amount:g}"
                    f" while {shown(variant)} is asked, so {max(1, int(sum_.amount / holds))} at once hold all of it, and others"
                    " are told to come again: say most_ms (or most_tokens) in its cost, or give it a shorter timeout"
                )


def dearest(table: RouteTable) -> tuple[float, str, str]:
    """What the dearest of those that are asked first, and paid by time or tokens, costs at most, and who that is."""
    longest = max(route.timeout for route in table.routes)
    plan = Plan("", (), longest)
    asked = [each for each in entrances(table) if each.price is not None and (each.price.gpu_ms or each.price.token)]
    return max([(bound(plan, each, 1, longest), each.variant, table.model) for each in asked], default=(0.0, "", ""))
