"""Judges a policy's A/B tests: do groups keep rollouts apart, can what is told be read, is there something to be held out of?"""

from __future__ import annotations

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_names import check_distinct
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, path_text, shown
from gateway.configuration.schema_experiments import Feedback, Group

MOST = 8  # metrics that clients tell of one rollout: a unit's are remembered as the bits of one byte


def check_experiments(found: Findings, document: policy.PolicyDocument) -> None:
    """Notes in `found` what two rollouts cannot have both, and a holdout that holds nobody."""
    groups: dict[str, list[tuple[Path, policy.Rollout, Group]]] = {}
    for name, model in document.models.items():
        for stable, rollout in model.rollouts.items():
            path: Path = ("models", name, "rollouts", stable)
            check_feedback(found, path, rollout)
            if rollout.group is not None and path not in found.spoiled and (*path, "group") not in found.spoiled:
                _check_group(found, path, rollout, rollout.group)
                groups.setdefault(rollout.group.name, []).append((path, rollout, rollout.group))
    for members in groups.values():
        for index, (path, rollout, group) in enumerate(members):
            for earlier in members[:index]:
                _check_pair(found, (path, rollout, group), earlier)
    held = document.holdout
    if held is not None and ("holdout", "share") not in found.spoiled and not 0 < held.share < 1:
        found.wrong(("holdout", "share"), "a holdout is above 0% and below 100%: some are held out, not all", "5%")
    if held is not None and not any(model.rollouts for model in document.models.values()):
        found.wrong(("holdout",), "there is nothing to be held out of: no model has rollouts")


def check_feedback(found: Findings, path: Path, rollout: policy.Rollout) -> None:
    """Notes what could never be told, or told apart."""
    here = (*path, "feedback")
    if len(rollout.feedback) > MOST:
        found.wrong(here, f"{len(rollout.feedback)} metrics are too many: clients tell at most {MOST} of a rollout")
    check_distinct(found, here, [each.metric for each in rollout.feedback], "metric")
    for index, each in enumerate(rollout.feedback):
        _check_values(found, (*here, index), each)


def _check_values(found: Findings, path: Path, feedback: Feedback) -> None:
    low, high = feedback.low, feedback.high
    if {(*path, "low"), (*path, "high"), (*path, "labels")} & found.spoiled:
        return
    if feedback.labels and (low is not None or high is not None):
        found.wrong(
            (*path, "labels"), "its labels say already what the smallest and the largest number are: leave out low and high"
        )
    elif (low is None) != (high is None):
        found.wrong(path, f"'{'low' if low is None else 'high'}' is missing: what can be told lies between two numbers")
    elif low is not None and high is not None and not low < high:
        found.wrong((*path, "high"), f"{high:g} is not above {low:g}: nothing could be told apart")
    elif feedback.labels and len(set(feedback.labels.values())) < 2:
        found.wrong((*path, "labels"), "all labels stand for the same number: nothing could be told apart")


def _check_group(found: Findings, path: Path, rollout: policy.Rollout, group: Group) -> None:
    if not group.start < group.end and not {(*path, "group", "from"), (*path, "group", "to")} & found.spoiled:
        found.wrong((*path, "group", "to"), f"its part of group {shown(group.name)} is empty: to is above from")
    for index, step in enumerate(rollout.steps):
        if step.weight >= 1 and (*path, "steps", index, "weight") not in found.spoiled:
            message = f"at 100% its candidate would meet the units of the others in group {shown(group.name)}"
            found.wrong((*path, "steps", index, "weight"), f"{message}: stay below, a person promotes it")


def _check_pair(found: Findings, one: tuple[Path, policy.Rollout, Group], earlier: tuple[Path, policy.Rollout, Group]) -> None:
    (path, rollout, group), (other, before, taken) = one, earlier
    line = found.source.mark(other).line
    if group.start < taken.end and taken.start < group.end:
        part = f"{100 * taken.start:g}% to {100 * taken.end:g}%"
        message = f"{part} of group {shown(group.name)} are {path_text(other)}'s already (line {line})"
        found.wrong((*path, "group"), f"{message}: parts of a group do not overlap, and all together are 100% at most")
    if rollout.unit != before.unit:
        message = f"{path_text(other)} (line {line}), of the same group {shown(group.name)}, has the unit {before.unit}"
        found.wrong(
            (*path, "group"), f"{message}, and this {rollout.unit}: who is in one of them could not be kept out of the other"
        )
