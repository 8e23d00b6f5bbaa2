"""Which stages, what they cost, and how their columns begin: from a policy, from prices, from what the rows have answers of."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.calibrate.reading import RowsError
from gateway.calibrate.stages import Stages, WantedError, chosen, of_policy, prices
from tests.gateway.calibrate.answers import POLICY

NAMES = ["fast", "balanced", "accurate"]
COST = {"fast": 1.0, "balanced": 6.0, "accurate": 40.0}


def test_of_a_policy() -> None:
    """The route with the cascade, unless another is named; costs of all variants."""
    found = of_policy(POLICY.encode(), "p.yaml", None, None)
    assert ("digits", "default", 1) == (found.where.model, found.where.route, found.where.index)
    assert COST == found.cost
    assert found.cascade is not None
    vip = of_policy(POLICY.encode(), "p.yaml", "digits", "vip")
    assert (None, "vip") == (vip.cascade, vip.where.route)


@pytest.mark.parametrize(
    ("model", "route", "message"),
    [
        ("digit", None, "p.yaml has no model 'digit' — did you mean 'digits'"),
        ("digits", "defaut", "model 'digits' has no route 'defaut' — did you mean 'default'"),
    ],
)
def test_names_that_are_not_there(model: str, route: str | None, message: str) -> None:
    """With the nearest that is."""
    with pytest.raises(WantedError, match=message):
        of_policy(POLICY.encode(), "p.yaml", model, route)


def test_a_row_that_has_no_price() -> None:
    """Who is paid by the token or the millisecond has no cost of a row: it must be said."""
    by_time = POLICY.replace("digits_fast, cost: 1", "digits_fast, cost: {gpu_ms: 1}")
    found = of_policy(by_time.encode(), "p.yaml", "digits", "default")
    assert {"balanced", "accurate"} == found.cost.keys()
    with pytest.raises(WantedError, match="what does a row cost at fast"):
        chosen(NAMES, ["fast", "accurate"], ({}, found.cost), [])


def test_prices(tmp_path: Path) -> None:
    """Names in the first column, numbers in the second."""
    file = tmp_path / "prices.csv"
    file.write_text("service,price_per_call_usd\ns0,0.0000001\ns1,2\n")
    assert {"s0": 1e-7, "s1": 2.0} == prices(file)
    for wrong in ("s0,free", "s0,-1", "s0,nan", "s0,inf"):
        file.write_text(f"service,price\n{wrong}\n")
        with pytest.raises(RowsError, match=r"prices\.csv:2: .* is not a price"):
            prices(file)


def test_who_is_chosen() -> None:
    """Those that are named; else the cascade's; else all of whom the rows have answers, cheapest first."""
    assert ["fast", "accurate"] == list(chosen(NAMES, ["fast", "accurate"], ({}, COST), NAMES).cost)
    assert ["fast", "accurate"] == list(chosen(NAMES, [], ({}, COST), ["fast", "accurate"]).cost)
    assert Stages(COST, {name: name for name in NAMES}) == chosen(NAMES[::-1], [], ({}, COST), [])
    aliased = chosen(["s0", "accurate"], [], ({"fast": "s0"}, COST), ["fast", "accurate"])
    assert {"fast": "s0", "accurate": "accurate"} == aliased.columns


@pytest.mark.parametrize(
    ("wanted", "cost", "message"),
    [
        (["fasst", "accurate"], COST, "no column begins with 'fasst_'; .* did you mean 'fast'"),
        (["fast"], COST, "a cascade of 1 stages"),
        (["accurate", "fast"], COST, "the last stage, fast, is not the dearest"),
        ([], {}, "what does a row cost at fast"),
        ([], {**COST, "s3": 1.0}, "choose two or three"),
    ],
)
def test_who_cannot_be(wanted: list[str], cost: dict[str, float], message: str) -> None:
    """With what could be done about it."""
    with pytest.raises(WantedError, match=message):
        chosen([*NAMES, "s3"] if "s3" in cost else NAMES, wanted, ({}, cost), [])
