"""What differs between the rollouts of one model in two documents, and what one of them is, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.configuration.problems import path_text, shown
from gateway.configuration.schema_experiments import Feedback, Group
from gateway.configuration.schema_policy import Model, PolicyDocument, Rollout
from gateway.configuration.schema_rollouts import Guard, RolloutStep
from gateway.review.changes_routes import Change
from gateway.review.words import duration, share

_AGAIN = "; it begins anew, at no weight until somebody starts it"


def rollout_changes(path: tuple[str | int, ...], old: Model, new: Model) -> Iterator[Change]:
    """Of the rollouts of one model. `path` is the model's."""
    for stable in dict.fromkeys([*old.rollouts, *new.rollouts]):
        here, was, now = (*path, "rollouts", stable), old.rollouts.get(stable), new.rollouts.get(stable)
        if now is None and was is not None:
            yield Change(path_text(here), f"the rollout of {was.candidate} goes: all of {stable} is {shown(stable)} again")
        elif was is None and now is not None:
            yield Change(path_text(here), f"{rollout_said(stable, now)}; it has no weight until somebody starts it")
        elif was is not None and now is not None:
            yield from _one(here, was, now)


def rollout_said(stable: str, rollout: Rollout) -> str:
    """In one line: who for whom, how, and what stops it."""
    steps, guards = ", ".join(map(_step, rollout.steps)), ", ".join(map(_guard, rollout.guards))
    more = f"; group {_group(rollout.group)}" if rollout.group else ""
    more += f"; feedback {_feedback(rollout.feedback)}" if rollout.feedback else ""
    return f"{rollout.candidate} for {stable} by {rollout.unit}: {steps}; guards {guards}; proof {rollout.proof}{more}"


def holdout_changes(old: PolicyDocument, new: PolicyDocument) -> Iterator[Change]:
    """Of the units that meet no candidate."""
    was, now = (None if each.holdout is None else f"{share(each.holdout.share)} by {each.holdout.unit}" for each in (old, new))
    if was == now:
        return
    if now is None:
        yield Change("holdout", f"nobody is held out of rollouts any more, which {was} were")
    elif was is None:
        yield Change("holdout", f"{now} meet no candidate of any rollout any more; all rollouts go on")
    else:
        yield Change("holdout", f"{was} → {now}: so many meet no candidate; all rollouts go on")


def _one(path: tuple[str | int, ...], old: Rollout, new: Rollout) -> Iterator[Change]:
    shows: dict[str, Callable[[Any], str]] = {
        "candidate": str,
        "unit": str,
        "steps": lambda steps: ", ".join(map(_step, steps)),
        "guards": lambda guards: ", ".join(map(_guard, guards)),
        "alpha": share,
        "proof": str,
        "group": lambda group: "in none" if group is None else _group(group),
    }
    for name, show in shows.items():
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield Change(path_text((*path, name)), f"{show(was)} → {show(now)}{_AGAIN}")

    if old.feedback != new.feedback:
        said = f"{_feedback(old.feedback)} → {_feedback(new.feedback)}"
        yield Change(path_text((*path, "feedback")), f"{said}; the rollout goes on, another metric begins at nothing")


def _group(group: Group) -> str:
    return f"{group.name}, {share(group.start)} to {share(group.end)}"


def _feedback(feedback: Sequence[Feedback]) -> str:
    return ", ".join(map(_told, feedback)) or "none"


def _told(each: Feedback) -> str:
    span = f" {each.low:g} to {each.high:g}" if each.low is not None and each.high is not None else ""
    span += " " + ", ".join(f"{word} = {number:g}" for word, number in each.labels.items()) if each.labels else ""
    return f"{each.metric}{span}" + (" of those told" if each.of == "told" else "")


def _step(step: RolloutStep) -> str:
    held = [f"for {duration(step.hold)}"] if step.hold else []
    samples = [f"{step.samples} requests"] if step.samples else []
    return " ".join([share(step.weight), *held, *samples])


def _guard(guard: Guard) -> str:
    said = guard.metric + (f" of {guard.output}" if guard.output else "")
    if guard.max_ratio is not None:
        return f"{said} × {guard.max_ratio:g}"
    tolerated = guard.max_increase or guard.max or 0.0
    return said + (f" +{share(tolerated)}" if tolerated else "")
