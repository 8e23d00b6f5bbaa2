"""Judges how a confidence is to be read from an answer, wherever the policy says it."""

from __future__ import annotations

from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_cascade import Confidence
from routing.cascade.confidence import CLASSES, LOGPROBS


def check_confidence(found: Findings, path: Path, confidence: Confidence) -> None:
    """Notes in `found` what the metric has no use for, or lacks."""
    metric = confidence.metric
    if metric.startswith("output:"):
        if confidence.output not in (None, metric.removeprefix("output:")):
            found.wrong((*path, "output"), f"{shown(metric)} names another output already; leave this one out")
    elif confidence.output is None:
        found.wrong(path, f"'output' is missing: which output is {metric} read from?")
    if confidence.logits and metric not in CLASSES:
        found.wrong((*path, "logits"), f"{metric} is not read from classes, so there are no logits; leave it out")
    if confidence.path is not None and metric not in LOGPROBS:
        where = "the place stands in the metric already" if metric.startswith("json:") else f"{metric} is not read from JSON"
        found.wrong((*path, "path"), f"{where}; leave this one out")
