"""The patch of a calibration for one route, tried before anybody is shown it: what the policy's own check says with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.calibrate.patch import PatchError, Thresholds, cascade, fragment, patched
from gateway.calibrate.report import Report, facts, headline
from gateway.calibrate.stages import Policy
from gateway.configuration.integrity import Ends, ends, sealed
from gateway.configuration.problems import shown
from gateway.review.report import report as checked
from routing.cascade.calibration import OTHER, Calibration
from routing.cascade.certify import Certified
from routing.cascade.confidence import CLASSES


@dataclass(frozen=True, slots=True)
class Wish:
    """What is said of the confidence where the route says nothing yet. `needed`: without a patch the command is no use; `logits`:
    the output holds those, and the metric is of their softmax."""

    output: str | None
    metric: str
    label: str | None
    needed: bool
    logits: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The part that changes, and the whole document with it. `problems`: what its check says then, such as tests of its own that
    know the stages it had."""

    patch: str
    policy: bytes
    problems: tuple[str, ...]


def written(policy: Policy, told: Report, found: Certified, wish: Wish) -> Written | None:
    """None where the route says nothing of a confidence and nobody needs a patch. Raises PatchError and PolicyError."""
    confidence = _confidence(policy, wish)
    if confidence is None:
        return None
    thresholds = _thresholds(told, found)
    label = _label(policy, confidence, wish, thresholds.calibrations)
    made = cascade(policy.cascade, thresholds, confidence, label)
    whole = patched(policy.text, policy.where, made)
    if ends(policy.text, "policy") is Ends.SEALED:
        whole = sealed(whole, "policy")
    problems = tuple(each.text("with the patch") for each in checked(whole, "with the patch").problems)
    said = [f"penstock calibrate {' '.join(told.files)}: {headline(told)}", *(f"{name}: {text}" for name, text in facts(told))]
    return Written(fragment(policy.where, made, said), whole, problems)


def _confidence(policy: Policy, wish: Wish) -> Mapping[str, Any] | None:
    if policy.cascade is not None:
        found: Mapping[str, Any] = policy.cascade["confidence"]
        return found
    if wish.logits and wish.metric not in CLASSES:
        raise PatchError(f"{wish.metric} is of no logits: --logits goes with {', '.join(sorted(CLASSES))}")
    if wish.metric.startswith("output:"):
        return {"metric": wish.metric}
    if wish.output is not None:
        return {"output": wish.output, "metric": wish.metric, **({"logits": True} if wish.logits else {})}
    if wish.needed:
        route = policy.where.route
        raise PatchError(
            f"route {shown(route)} has no cascade yet: which output tells how sure an answer is? (--output probabilities)"
        )
    return None


def _thresholds(told: Report, found: Certified) -> Thresholds:
    """Without stages that nothing stays at: what passes through them costs and changes nothing."""
    assert found.chosen is not None
    *cheap, dearest = told.stages
    kept = [place for place, each in enumerate(cheap) if each.accept is not None]
    maps = [found.calibrations[place] for place in kept]
    return Thresholds(
        (*(cheap[place].stage for place in kept), dearest.stage),
        tuple(each.accept for each in cheap if each.accept is not None),
        tuple(Calibration({OTHER: each.maps[OTHER]}) if each.maps.keys() <= {OTHER, ""} else each for each in maps),
    )


def _label(policy: Policy, confidence: Mapping[str, Any], wish: Wish, maps: tuple[Calibration, ...]) -> str:
    """The output that tells the label; "" where that is the place of the largest. Raises PatchError where nothing tells it."""
    names = {name for each in maps for name in each.maps} - {OTHER, ""}
    before = [confidence, *(policy.cascade or {}).get("stages", ())]
    known = [each["calibration"]["label"] for each in before if "label" in each.get("calibration", {})]
    label = wish.label or next(iter(known), "")
    if label or not names:
        return str(label)
    if confidence["metric"] not in CLASSES:
        raise PatchError(
            f"{confidence['metric']} tells no label, and there is a map for each: name the output (--label-output NAME)"
        )
    words = sorted(name for name in names if not name.isdecimal())
    if words:
        raise PatchError(
            f"the label {shown(words[0])} is not the place of a class in an output, 0 and up: name the output whose value it is "
            "(--label-output NAME)"
        )
    return ""
