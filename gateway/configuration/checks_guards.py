"""Judges a rollout's guards: does each say what it tolerates in its own terms, and can anything ever tell it?"""

from __future__ import annotations

from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_rollouts import ANSWERS, DISAGREEMENT, LATENCIES, THUMBS_DOWN, Guard


def check_guards(found: Findings, path: Path, model: policy.Model, stable: str) -> None:
    """Notes in `found` guards that would never be measured, or whose tolerance means nothing. `path` is the rollout's."""
    rollout = model.rollouts[stable]
    for index, guard in enumerate(rollout.guards):
        here = (*path, "guards", index)
        _check_tolerance(found, here, guard)
        if guard.output is not None and guard.metric not in ANSWERS:
            found.wrong((*here, "output"), f"{guard.metric} looks at no output: only {' and '.join(ANSWERS)} do")
        if guard.metric == "guardrail-rate" and guard.output is None:
            found.wrong(here, "which output says that a guardrail was hit?", "output: flagged")
        sides = stable, rollout.candidate
        if guard.metric == DISAGREEMENT and not any((shadow.of, shadow.to) == sides for shadow in model.shadows):
            shadow = f"no shadow is of {shown(stable)} to {shown(rollout.candidate)}"
            found.wrong((*here, "metric"), f"nobody could ever tell: {shadow}; docs/shadow.md says how to write one")
        if guard.metric in (DISAGREEMENT, THUMBS_DOWN) and rollout.steps and rollout.steps[0].weight >= 1:
            found.wrong((*here, "metric"), "nobody could ever tell: at 100% no stable side is asked, to be mirrored or told of")
        if guard.metric == THUMBS_DOWN and not any(each.metric == THUMBS_DOWN for each in rollout.feedback):
            found.wrong(
                (*here, "metric"),
                "nobody could ever tell: the rollout takes no such feedback; write feedback: [{metric: thumbs-down}]",
            )


def _check_tolerance(found: Findings, path: Path, guard: Guard) -> None:
    """One of the three ways to tolerate something, the one that the metric has."""
    if guard.metric == DISAGREEMENT:
        for name in ("max_increase", "max_ratio"):
            if getattr(guard, name):
                found.wrong(
                    (*path, name), "disagreement is measured against the stable side's own: say what is tolerated with max"
                )
        return
    if guard.max is not None:
        found.wrong((*path, "max"), f"only {DISAGREEMENT} has a max: of {guard.metric} say max_increase")
    if guard.max_ratio is None:
        return
    if guard.metric in ("latency", *LATENCIES):
        found.wrong((*path, "max_ratio"), "max_increase is a part of the seconds already", f"max_increase: {_percent(guard)}")
    elif guard.max_ratio < 1:
        found.wrong((*path, "max_ratio"), "the candidate may have so many times the stable side's rate: 1 is the least", "1.5")
    elif guard.max_increase:
        found.wrong((*path, "max_ratio"), "either so many times the stable side's rate is tolerated, or points of the requests")


def _percent(guard: Guard) -> str:
    return f"{100 * ((guard.max_ratio or 1.0) - 1):g}%"
