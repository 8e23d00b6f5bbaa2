"""Makes the routing's values of the document's cascades."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.configuration import schema_cascade as schema
from gateway.configuration.tables_audit import audit_of
from routing.cascade.calibration import Calibration
from routing.match import Cascade
from routing.plan import Confidence, Stage, Target
from routing.shadow.compare_trees import place


def cascade_of(cascade: schema.Cascade, targets: Mapping[str, Target]) -> Cascade:
    """One that was checked."""
    usual = cascade.confidence.calibration
    stages = tuple(_stage(stage, targets[stage.use], stage.calibration or usual) for stage in cascade.stages)
    budget = None if cascade.budget is None else cascade.budget.share
    return Cascade(_confidence(cascade.confidence), stages, cascade.speculate, audit_of(cascade, targets), budget)


def _stage(stage: schema.Stage, target: Target, calibration: schema.Calibration | None) -> Stage:
    if stage.accept is None or calibration is None:
        return Stage(target, stage.accept)
    return Stage(target, stage.accept, Calibration(dict(calibration.maps)), calibration.label or "")


def _confidence(confidence: schema.Confidence) -> Confidence:
    metric, _, name = confidence.metric.partition(":")
    if metric == "output":
        return Confidence(name, metric)
    if confidence.output is None:
        raise ValueError("the confidence was not checked: it has no output")
    path = name if metric == "json" else confidence.path
    return Confidence(confidence.output, metric, confidence.logits, None if path is None else place(path))
