"""Tests of gateway.telemetry.costs: what was saved is told apart by who saved it."""

from __future__ import annotations

from gateway.telemetry.costs import CostNumbers
from gateway.telemetry.record import RequestRecord


def record(cost: float, baseline: float, kept: float, cascade: bool) -> RequestRecord:
    """An answered request."""
    made = RequestRecord("id", "POST", "/", "", model="digits", route="default", variant="fast", code="200")
    made.cost, made.baseline, made.kept, made.cascade = cost, baseline, kept, cascade
    return made


def test_baselines_are_divided_by_rows_that_were_kept() -> None:
    """The rest is the cascade's or the route's."""
    numbers = CostNumbers()
    for each in (
        record(4.0, 160.0, 0.0, True),
        record(1.0, 160.0, 0.75, True),
        record(2.0, 80.0, 0.0, False),
        record(0.0, 40.0, 1.0, False),
    ):
        numbers.part(each).answered(each)
    lines = {line for family in numbers.families() for line in family.lines() if not line.startswith("#")}
    assert 'penstock_cost_baseline_total{model="digits"} 440.0' in lines
    assert {
        'penstock_cost_part_total{model="digits",part="cascade"} 5.0',
        'penstock_cost_part_total{model="digits",part="route"} 2.0',
        'penstock_cost_baseline_part_total{model="digits",part="cascade"} 200.0',
        'penstock_cost_baseline_part_total{model="digits",part="route"} 80.0',
        'penstock_cost_baseline_part_total{model="digits",part="cache"} 160.0',
    } == {line.replace(" 440 ", "") for line in lines if "part=" in line}


def test_mirrors_are_in_no_other_number() -> None:
    """Their own, by shadow."""
    numbers = CostNumbers()
    for _ in range(2):
        numbers.mirrored("digits", "dark", 40.0)
    lines = [line for family in numbers.families() for line in family.lines() if not line.startswith("#")]
    assert ['penstock_shadow_cost_total{shadow="digits/dark"} 80.0'] == lines
