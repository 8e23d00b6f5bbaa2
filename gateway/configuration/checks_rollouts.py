"""Judges a model's rollouts: is there something to replace, do the weights grow, can anything stop a bad candidate?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_guards import check_guards
from gateway.configuration.checks_names import check_distinct, check_known
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown

MOST = 3  # of a model: a planner is made for each set of candidates


def check_rollouts(found: Findings, path: Path, model: policy.Model) -> None:
    """Notes in `found` rollouts that replace nothing, or that nothing would ever end."""
    known = dict.fromkeys(found.source.keys((*path, "variants")))
    if len(model.rollouts) > MOST:
        found.wrong((*path, "rollouts"), f"{len(model.rollouts)} rollouts at a time are too many: a model has at most {MOST}")
    for stable, rollout in model.rollouts.items():
        here = (*path, "rollouts", stable)
        check_known(found, here, "variant", stable, known)
        check_known(found, (*here, "candidate"), "variant", rollout.candidate, known)
        if {stable, rollout.candidate} <= known.keys():
            _check_sides(found, here, stable, model)
        _check_steps(found, (*here, "steps"), rollout)
        check_distinct(found, (*here, "guards"), [guard.metric for guard in rollout.guards], "metric")
        check_guards(found, here, model, stable)
        if not 0 < rollout.alpha <= 0.2:
            found.wrong((*here, "alpha"), "the chance of a wrong verdict lies above 0% and at most at 20%", "1%")


def _check_sides(found: Findings, path: Path, stable: str, model: policy.Model) -> None:
    """Somebody is replaced, by somebody else, and nobody else's answers are taken for either's."""
    rollout = model.rollouts[stable]
    candidate, names = rollout.candidate, list(model.rollouts)
    if candidate == stable:
        found.wrong((*path, "candidate"), f"{shown(stable)} would be replaced by itself")
        return
    asked = [dict(_named(route)) for route in model.routes]
    if not any(stable in each for each in asked) and stable not in model.fallback.values():
        found.wrong(path, f"replaces nothing: no route asks {shown(stable)}")
    for index, each in enumerate(asked):
        if {stable, candidate} <= each.keys():
            name = shown(model.routes[index].name)
            found.wrong((*path, "candidate"), f"route {name} asks both {shown(stable)} and {shown(candidate)}: who is judged?")
    if candidate in model.fallback.values():
        found.wrong((*path, "candidate"), f"{shown(candidate)} stands in when another fails: its answers there would be mixed in")
    earlier = [model.rollouts[name].candidate for name in names[: names.index(stable)]]
    if candidate in names or candidate in earlier:
        found.wrong((*path, "candidate"), f"{shown(candidate)} is part of another rollout")
    mirrored = any((shadow.of, shadow.to) == (stable, candidate) for shadow in model.shadows)
    if rollout.proof == "mirror" and not mirrored:
        shadow = f"a shadow of {stable} to {candidate}"
        found.wrong(
            (*path, "proof"),
            f"no step could ever end: the proof is a mirror's, and there is no such thing as {shadow};"
            " write one (docs/shadow.md), or proof: time",
        )


def _named(route: policy.Route) -> Iterator[tuple[str, None]]:
    if route.use is not None:
        yield route.use, None
    yield from ((name, None) for name in route.split or ())
    yield from ((stage.use, None) for stage in (route.cascade.stages if route.cascade else ()))


def _check_steps(found: Findings, path: Path, rollout: policy.Rollout) -> None:
    for index, step in enumerate(rollout.steps):
        if not step.weight and (*path, index, "weight") not in found.spoiled:
            found.wrong((*path, index, "weight"), "nobody would be asked: a step has a weight above 0%", "1%")
    for index, (low, high) in enumerate(pairwise(rollout.steps), start=1):
        if high.weight <= low.weight and not {(*path, at, "weight") for at in (index - 1, index)} & found.spoiled:
            message = f"{100 * high.weight:.6g}% is no more than the {100 * low.weight:.6g}% of the step before it: weights grow"
            found.wrong((*path, index, "weight"), message)
    bare = [str(index + 1) for index, step in enumerate(rollout.steps) if step.weight < 1 and not (step.hold or step.samples)]
    if bare and rollout.proof != "person":
        of = f"step {bare[0]}" if len(bare) == 1 else f"steps {', '.join(bare)}"
        found.wrong(
            path, f"{of} would end with the first request: say for how long (hold: 1h) or how many requests (samples: 1000)"
        )
