"""Plays every scene in its order and prints what each saw; the first that saw something else ends it."""

from __future__ import annotations

from collections.abc import Callable

from gateway.demo import (
    comparison,
    scenes_answers,
    scenes_calibrate,
    scenes_policy,
    scenes_protocol,
    scenes_refusals,
    scenes_routing,
    table,
)
from gateway.demo.setting import Setting

Scene = Callable[[Setting], str]
SCENES: tuple[tuple[str, Scene], ...] = (
    ("cost", scenes_protocol.savings),  # first: it counts what the comparison alone has left behind
    ("cascade by row", scenes_routing.per_row),
    ("route by tier", scenes_routing.by_tier),
    ("route by request", scenes_routing.by_request),
    ("sticky split", scenes_routing.sticky_split),
    ("explained before", scenes_policy.explained),
    ("policy's tests", scenes_policy.noticed),
    ("calibrated", scenes_calibrate.calibrated),
    ("one protocol", scenes_protocol.same_answers),
    ("cache", scenes_answers.kept),
    ("shadow", scenes_answers.mirrored),
    ("example models", scenes_protocol.example_models),
    ("stream", scenes_protocol.stream),
    ("client hangs up", scenes_protocol.hang_up),
    ("credentials", scenes_refusals.credentials),
    ("bad questions", scenes_refusals.bad_questions),
    ("overhead", scenes_protocol.timing),
    ("deadline", scenes_refusals.deadline),
    ("limits", scenes_refusals.limited),
    ("dynamic batching", scenes_protocol.batching),
    ("reload", scenes_routing.reload),
    ("fallback", scenes_routing.fallback),
    ("orderly stop", scenes_protocol.stop),  # last: nobody answers after it
)


def play(setting: Setting, say: Callable[[str], None], under_way: Callable[[str], None]) -> None:
    """All of it; `under_way` is told what takes time now. Raises WrongError at the first thing that is not as it should be."""
    variants = [variant for variant, _ in setting.policy.stages()]
    rows = len(setting.held_out.labels)
    say(f"\n{rows} held-out handwritten digits, each a request of its own, {comparison.CLIENTS} clients at a time:\n")
    say(table.heading(variants))
    lines = []
    for variant in variants:
        under_way(variant)
        lines.append(comparison.alone(setting, variant))
        say(table.comparison(lines[-1], variants))
    under_way("cascade")
    lines.append(comparison.together(setting))
    say(table.comparison(lines[-1], variants))
    say(f"\n  {comparison.conclusion(setting, lines)}\n")
    for name, scene in SCENES:
        under_way(name)
        say(table.feature(name, scene(setting)))
