"""Tests of gateway.savings: every unit of cost and of what it would have been is somewhere, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.savings import Part, savings
from gateway.telemetry.merge import Totals
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import RequestRecord
from policies.call import Ending
from routing.plan import Target

FAST, DEAR = Target("fast", "t", "f", cost=1.0), Target("dear", "t", "d", cost=40.0)


def answered(metrics: Metrics, rows: int, up: int, kept: float = 0.0, cascade: bool = True) -> None:
    """A request of so many rows; those that were not kept were asked, and some went up."""
    asked = round(rows * (1 - kept))
    cost = asked * 1.0 + up * 40.0
    if asked:
        metrics.asked("digits", FAST, Ending(asked, 0.001, "ok", asked * 1.0))
    if up:
        metrics.asked("digits", DEAR, Ending(up, 0.001, "ok", up * 40.0))
    record = RequestRecord("id", "POST", "/", "")
    record.model, record.route, record.variant, record.code = "digits", "default" if cascade else "cheap", "fast", "200"
    record.cost, record.baseline, record.kept, record.cascade = cost, 40.0 * rows, kept, cascade
    record.shares = (("fast", rows - up), ("dear", up))
    record.variant = "fast,dear"
    metrics.requested(record)


def test_what_was_saved_and_by_what() -> None:
    """A cascade, a route to the cheap variant, and rows that were kept; an ask that was abandoned is paid beside."""
    metrics = Metrics()
    answered(metrics, 32, 3)
    answered(metrics, 10, 0, cascade=False)
    answered(metrics, 4, 0, kept=0.75)
    metrics.asked("digits", DEAR, Ending(2, 0.5, "abandoned", 80.0))
    found = savings(metrics.exposition())
    (model,) = found.models
    assert ("digits", 3, 32 + 120 + 10 + 1 + 80, 46 * 40.0) == (model.model, model.requests, model.cost, model.baseline)
    assert Part(153.0, 33 * 40.0, 33 * 40.0 - 153.0) == model.parts["cascade"]
    assert Part(10.0, 400.0, 390.0) == model.parts["route"]
    assert Part(0.0, 120.0, 120.0) == model.parts["cache"]
    assert (80.0, model.saved) == (model.beside, sum(part.saved for part in model.parts.values()) - model.beside)
    assert [("dear", 2, 5, 3, 200.0), ("fast", 3, 43, 43, 43.0)] == [
        (each.variant, each.asks, each.asked_rows, each.rows, each.cost) for each in model.variants
    ]
    assert (found.cost, found.baseline, found.saved) == (model.cost, model.baseline, model.saved)
    assert found.share == pytest.approx(1 - 243 / 1840)
    assert found.since > 1.7e9


def test_nothing_was_asked() -> None:
    """Then nothing was saved."""
    found = savings(Metrics().exposition())
    assert (0.0, 0.0, []) == (found.baseline, found.share, found.models)
    assert (0.0, []) == (savings(b"").since, savings(b"").models)


def test_several_processes_are_one() -> None:
    """Also one that has ended."""
    totals, one, two = Totals(), Metrics(), Metrics()
    for metrics, rows in ((one, 8), (two, 24)):
        answered(metrics, rows, 1)
    totals.ended(one.exposition())
    found = savings(totals.exposition([two.exposition()], b""))
    assert (112.0, 1280.0) == (found.cost, found.baseline)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 1), st.booleans(), st.booleans()), max_size=30))
def test_parts_make_up_the_whole(requests: list[tuple[int, float, bool, bool]]) -> None:
    """Whatever was asked and kept, also where a cascade costs more than the dearest."""
    metrics = Metrics()
    for rows, share, kept, cascade in requests:
        answered(metrics, rows, 0 if kept else round(share * rows), float(kept), cascade)
    for model in savings(metrics.exposition()).models:
        assert model.cost == pytest.approx(sum(part.cost for part in model.parts.values()) + model.beside)
        assert model.baseline == pytest.approx(sum(part.baseline for part in model.parts.values()))
        assert model.saved == pytest.approx(sum(part.saved for part in model.parts.values()) - model.beside)
        assert model.cost == pytest.approx(sum(each.cost for each in model.variants))
