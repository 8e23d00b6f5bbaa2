"""Makes the routing's values of a cascade's checked audit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from gateway.configuration import schema_cascade as schema
from gateway.configuration.schema_shadows import Except
from gateway.configuration.tables_shadows import rule_of
from routing.cascade.audits import Audit
from routing.cascade.confidence import CLASSES
from routing.plan import Target
from routing.shadow.compare import Rule

Rules = tuple[tuple[str, Rule], ...]


def audit_of(cascade: schema.Cascade, targets: Mapping[str, Target]) -> Audit | None:
    """None where the cascade has none."""
    audit = cascade.audit
    if audit is None:
        return None
    rules, spared, budget = _rules(cascade), audit.spared or Except(), audit.budget
    asked = [msgspec.structs.astuple(targets[stage.use])[:4] for stage in cascade.stages]
    what = msgspec.json.encode((cascade.confidence, cascade.stages, asked, rules, audit.promise), order="sorted")
    return Audit(
        share=audit.share,
        most=round(1 - audit.promise, 12),
        falls=audit.on_alarm == "dear",
        rules=rules,
        timeout=audit.timeout,
        in_flight=audit.max_in_flight,
        queue=audit.queue,
        budget=None if budget is None else (budget.units, budget.per_second),
        tenants=frozenset(spared.tenant),
        tiers=frozenset(spared.tier),
        epoch=hashlib.sha256(what).hexdigest()[:16],
    )


def label_of(cascade: schema.Cascade) -> str:
    """The output that tells what is answered; "" where that is the place of the largest value, or nobody says."""
    own = [stage.calibration for stage in cascade.stages if stage.calibration is not None]
    calibrations = [*own, *([cascade.confidence.calibration] if cascade.confidence.calibration else [])]
    said = cascade.audit.label if cascade.audit is not None else None
    return said or next((each.label for each in calibrations if each.label), "")


def largest_decides(cascade: schema.Cascade) -> bool:
    """Whether the confidence is read from classes, of which the largest is the answer."""
    return cascade.confidence.metric in CLASSES and cascade.confidence.output is not None


def _rules(cascade: schema.Cascade) -> Rules:
    if cascade.audit is not None and cascade.audit.compare:
        return tuple((output, rule_of(rule)) for output, rule in sorted(cascade.audit.compare.items()))
    if label := label_of(cascade):
        return ((label, Rule(exact=True)),)
    return ((cascade.confidence.output or "", Rule(label=True)),)
