"""The numbers of money: what asking has cost, what the dearest would have, and by what the difference came."""

from __future__ import annotations

from gateway.telemetry.record import RequestRecord
from gateway.telemetry.series import Cell, Distributions, Numbers

CACHE, CASCADE, ROUTE = "cache", "cascade", "route"


class Part:
    """The cells of answers that one kind of route gave: of what was asked for them, and of what was kept."""

    __slots__ = ("baseline", "cost", "kept", "whole")

    def __init__(self, whole: Cell, kept: Cell, baseline: Cell, cost: Cell) -> None:
        self.whole = whole
        self.kept = kept
        self.baseline = baseline
        self.cost = cost

    def answered(self, record: RequestRecord) -> None:
        """One request was."""
        baseline = record.baseline
        self.whole.value += baseline
        self.cost.value += record.cost
        if record.kept:
            self.kept.value += baseline * record.kept
            baseline -= baseline * record.kept
        self.baseline.value += baseline


class CostNumbers:
    """Families of their own. `part` is the cache for rows that were kept, else cascade or route, as the route is."""

    def __init__(self) -> None:
        self.cost = _counter("cost_total", "cost of what was asked, in the policy's unit", "model", "variant")
        self._asks = _counter("asks_total", "asks of a variant, however they ended", "model", "variant")
        self._rows = _counter("asked_rows_total", "rows that a variant was asked about", "model", "variant")
        self._baseline = _counter("cost_baseline_total", "what the dearest variant alone would have cost", "model")
        self._parts = _counter("cost_part_total", "cost of answers, by who gave them", "model", "part")
        self._baselines = _counter("cost_baseline_part_total", "what the dearest would have cost for these", "model", "part")
        self._shadows = _counter("shadow_cost_total", "cost of mirrors, which is in no other metric of cost", "shadow")

    def part(self, record: RequestRecord) -> Part:
        """The cells for answers such as this one."""
        by, model = CASCADE if record.cascade else ROUTE, record.model
        cells = self._baselines.cell(model, CACHE), self._baselines.cell(model, by), self._parts.cell(model, by)
        return Part(self._baseline.cell(model), *cells)

    def asked(self, model: str, variant: str) -> tuple[Cell, Cell, Cell]:
        """The cells that an ask touches: its cost, the ask, its rows."""
        return self.cost.cell(model, variant), self._asks.cell(model, variant), self._rows.cell(model, variant)

    def mirrored(self, model: str, shadow: str, cost: float) -> None:
        """A shadow has asked somebody."""
        self._shadows.cell(f"{model}/{shadow}").value += cost

    def families(self) -> tuple[Numbers | Distributions, ...]:
        """All of them."""
        return self.cost, self._asks, self._rows, self._baseline, self._parts, self._baselines, self._shadows


def _counter(name: str, explanation: str, *labels: str) -> Numbers:
    return Numbers("counter", f"penstock_{name}", explanation, labels)
