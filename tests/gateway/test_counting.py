"""Tests of gateway.counting: only models that a limit may bind have its layers, and streams have the same."""

from __future__ import annotations

from gateway.counting import Counting
from policies.budget import LocalTreasury
from policies.limit import LocalMeter
from routing.budgets import Budget, Sum
from routing.cost import Costs
from routing.limits import Allowance, Bound, Limit

RATE, SUM = Allowance("requests", 1, 1.0), Budget("cost", Sum(10.0, "day"))


def layers(*limits: Limit) -> list[str]:
    """Of the model digits."""
    told: list[str] = []
    return list(Counting(limits, LocalMeter(lambda: 0.0), LocalTreasury(lambda: 0.0), Costs(), told.append).layers("digits"))


def test_layers() -> None:
    """Of a rate, of a sum, of both in one limit; of other models none."""
    anybody, others = Bound(), Bound(models=frozenset({"other"}))
    assert [] == layers() == layers(Limit("a", others, "", (RATE,), (SUM,)))
    assert ["limit"] == layers(Limit("a", anybody, "", (RATE,)))
    assert ["budget"] == layers(Limit("a", anybody, "", (), (SUM,)), Limit("b", others, "", (RATE,)))
    assert ["limit", "budget"] == layers(Limit("a", anybody, "", (RATE,), (SUM,)))


def test_tolls() -> None:
    """Of the layer that the model has, if it has one."""
    for limits, has in (
        ((Limit("a", Bound(), "", (RATE,)),), True),
        ((Limit("a", Bound(), "", (), (SUM,)),), False),
        ((), False),
    ):
        counting = Counting(limits, LocalMeter(lambda: 0.0), LocalTreasury(lambda: 0.0), Costs(), list[str]().append)
        assert has is (counting.tolls("digits") is not None)
