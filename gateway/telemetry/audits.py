"""The metrics of audits: what each process counts, and what only whoever judges for all of them knows."""

from __future__ import annotations

from gateway.telemetry.series import Numbers
from routing.shadow.excess import Interval

_LABELS = ("model", "route")


class AuditCounts:
    """Of a process that serves."""

    def __init__(self) -> None:
        explanation = "requests with kept rows that were drawn for an audit, by what became of them"
        self._total = Numbers("counter", "penstock_audit_total", explanation, (*_LABELS, "outcome"))
        self._cost = Numbers("counter", "penstock_audit_cost_total", "cost of audits, in the policy's unit", _LABELS)

    def told(self, model: str, route: str, outcome: str) -> None:
        """One has come to this: `same` or `different`, or why it says nothing."""
        self._total.cell(model, route, outcome).value += 1

    def paid(self, model: str, route: str, cost: float) -> None:
        """What asking the dearest stage has cost; it is in no other metric of cost."""
        self._cost.cell(model, route).value += cost

    def families(self) -> tuple[Numbers, ...]:
        """For an exposition."""
        return self._total, self._cost


class AuditNumbers:
    """Of whoever judges: numbers of several processes must not be added up."""

    def __init__(self) -> None:
        explanation = "share of kept rows that the dearest stage answers otherwise; bounds hold at all times with 95 %"
        self._rate = Numbers("gauge", "penstock_audit_rate", explanation, (*_LABELS, "bound"))
        self._promised = Numbers("gauge", "penstock_audit_promised_rate", "the largest such share that is promised", _LABELS)
        self._alarm = Numbers("gauge", "penstock_audit_alarm", "1 from the proof that the promise is broken", _LABELS)
        self._fallen = Numbers("gauge", "penstock_audit_fallen", "1 while the dearest stage answers alone", _LABELS)

    def clear(self) -> None:
        """What is told of next is all there is."""
        for family in self.families():
            family.clear()

    def stands(self, key: tuple[str, str], rate: Interval, promised: float, state: str) -> None:
        """How the audit of a model's route stands: watching, alarm or fallen."""
        for bound in ("value", "low", "high"):
            self._rate.cell(*key, "estimate" if bound == "value" else bound).value = getattr(rate, bound)
        self._promised.cell(*key).value = promised
        self._alarm.cell(*key).value = int(state != "watching")
        self._fallen.cell(*key).value = int(state == "fallen")

    def families(self) -> tuple[Numbers, ...]:
        """For an exposition."""
        return self._rate, self._promised, self._alarm, self._fallen
