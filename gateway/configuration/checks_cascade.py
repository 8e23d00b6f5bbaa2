"""Judges a cascade: can its confidence be read, its thresholds be reached, and does it go from cheap to dear?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_audit import check_audit
from gateway.configuration.checks_confidence import check_confidence
from gateway.configuration.checks_costs import check_order_of_costs
from gateway.configuration.checks_names import check_distinct
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_cascade import Calibration, Cascade, Confidence, Knot, Stage
from routing.cascade.calibration import OTHER
from routing.cascade.confidence import CLASSES, LOGPROBS, ROUNDING


def check_cascade(found: Findings, path: Path, cascade: Cascade, variants: Mapping[str, policy.Variant], declared: Path) -> None:
    """Notes in `found` what can never be meant. `declared`: where the variants stand."""
    confidence, stages = cascade.confidence, (*path, "stages")
    check_confidence(found, (*path, "confidence"), confidence)
    if confidence.calibration is not None:
        _check_calibration(found, (*path, "confidence", "calibration"), confidence.calibration, confidence.metric)
    if len(cascade.stages) < 2:
        found.wrong(stages, "a cascade has at least two stages; for one variant write use")
    check_distinct(found, stages, [stage.use for stage in cascade.stages], "use")
    last = len(cascade.stages) - 1
    for index, stage in enumerate(cascade.stages):
        if index < last:
            _check_stage(found, (*stages, index), stage, confidence)
        else:
            _check_last(found, (*stages, index), stage)
    check_order_of_costs(found, stages, [stage.use for stage in cascade.stages], (variants, declared))
    check_audit(found, path, cascade, variants, declared)
    if cascade.speculate == 0:
        found.wrong((*path, "speculate"), "0% would always ask the next stage at once; leave it out for never", "60%")


def _check_stage(found: Findings, path: Path, stage: Stage, confidence: Confidence) -> None:
    """One that may send rows up."""
    if stage.calibration is not None:
        _check_calibration(found, (*path, "calibration"), stage.calibration, confidence.metric)
    accept, calibration = stage.accept, stage.calibration or confidence.calibration
    if accept is None:
        found.wrong(path, f"'accept' is missing: how sure must {shown(stage.use)} be for its answer to stay?")
        return
    what = confidence.metric if calibration is None else "a calibrated score"
    percent = f"{accept / 100:g}" if 2 <= accept <= 100 else None  # 1.2 is no per cent
    if (calibration is not None or confidence.metric in CLASSES) and not 0 <= accept <= 1:
        found.wrong((*path, "accept"), f"{accept:g} is out of range: {what} lies between 0 and 1", percent)
    elif calibration is None and confidence.metric in LOGPROBS and accept > 0:
        found.wrong((*path, "accept"), f"{accept:g} is out of range: a log-probability is never above 0", f"{-accept:g}")
    elif calibration is not None:
        most = max(
            (chance for knots in calibration.maps.values() for _, chance in knots), default=1.0
        )  # of none that could be read
        if accept > most:
            found.wrong((*path, "accept"), f"{accept:g} is never reached: no map goes beyond {most:g}", f"{most:g}")


def _check_last(found: Findings, path: Path, stage: Stage) -> None:
    for key in ("accept", "calibration"):
        if getattr(stage, key) is not None:
            found.wrong((*path, key), "the last stage takes whatever comes: there is nobody to ask after it")


def _check_calibration(found: Findings, path: Path, calibration: Calibration, metric: str) -> None:
    maps = (*path, "maps")
    if OTHER not in calibration.maps:
        found.wrong(maps, f"'{OTHER}' is missing: what is the score of a label worth that has no map of its own?")
    for label, knots in calibration.maps.items():
        if label != OTHER and calibration.label is None:
            _check_label(found, (*maps, label), label, metric)
        _check_knots(found, (*maps, label), knots, metric)


def _check_label(found: Findings, path: Path, label: str, metric: str) -> None:
    """Of a calibration that does not say which output tells the label."""
    if metric not in CLASSES:
        found.wrong(path, f"{metric} tells no label; name the output that does with label, or keep only the map '{OTHER}'")
    elif not (label.isascii() and label.isdecimal() and label == str(int(label))):
        meant = str(int(label)) if label.isascii() and label.isdecimal() else None
        found.wrong(
            path,
            f"{shown(label)} is unknown: without label, labels are the places of the output's classes, 0 and up, or '{OTHER}'",
            meant,
        )


def _check_knots(found: Findings, path: Path, knots: tuple[Knot, ...], metric: str) -> None:
    high = 1 if metric in CLASSES else 0 if metric in LOGPROBS else None
    for index, (raw, _) in enumerate(knots):  # as far beside as scores are taken: penstock calibrate has fitted them to such
        if high is not None and (raw > high + ROUNDING or (metric in CLASSES and raw < -ROUNDING)):
            lies = "between 0 and 1" if metric in CLASSES else "never above 0"
            found.wrong((*path, index), f"{raw:g} is out of range: {metric} is {lies}")
    for index, (one, other) in enumerate(pairwise(knots), start=1):
        if other[0] <= one[0] or other[1] < one[1]:
            text = f"{_knot(other)} follows {_knot(one)}: raw scores must rise, and who is surer is not less often right"
            found.wrong((*path, index), text, _risen(knots))
            return


def _risen(knots: tuple[Knot, ...]) -> str | None:
    """The same knots in another order, if that is all that is wrong with them."""
    ordered = sorted(knots)
    rising = all(one[0] < other[0] and one[1] <= other[1] for one, other in pairwise(ordered))
    return f"[{', '.join(map(_knot, ordered))}]" if rising and len(knots) <= 8 else None


def _knot(knot: Knot) -> str:
    return f"[{knot[0]:g}, {knot[1]:g}]"
