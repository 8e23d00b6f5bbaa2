"""Says what the policy wants of a rollout: who takes whose place, whose units, by which terms, and what each metric measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from routing.plan import Target
from routing.rollout.feedback import Feedback
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.rollout import Terms
from routing.rollout.units import Excluded

What = Literal["error", "timeout", "latency"]
Outcome = Literal["ok", "error", "late", "left"]


class Measure(msgspec.Struct, frozen=True):
    """How a metric reads a request that has ended. `cut`: the cell of its latency beyond which it happened; 0: the cell itself.

    `scale`: the candidate's seconds are divided by it, so that what is tolerated is no slowness.
    """

    what: What
    scale: float = 1.0
    cut: int = 0


class Rolling(msgspec.Struct, frozen=True):
    """One rollout. `measures` in the order of the terms' metrics; `definition` stands for all of it."""

    stable: str
    target: Target  # of the stable side
    candidate: Target
    unit: str
    terms: Terms
    measures: tuple[Measure, ...]
    definition: str
    excluded: Excluded = Excluded()
    feedback: tuple[Feedback, ...] = ()  # that clients tell later; no part of the definition: nobody is judged by it here


class Ended(msgspec.Struct, frozen=True, gc=False):
    """What became of an ask, and how long it took: an answer, an error, one because time was up, or its client left before."""

    outcome: Outcome
    seconds: float


def cells(measures: Sequence[Measure], points: LatencyPoints, ended: Ended, candidate: bool) -> list[int]:
    """One cell for each metric, as a Tally wants them."""
    found, outcome = [], ended.outcome
    plain: int | None = None  # of the stable side's seconds, which no scale changes
    for measure in measures:
        if measure.what == "error":
            found.append(1 if outcome in ("error", "late") else 0)
        elif measure.what == "timeout":
            found.append(1 if outcome == "late" else 0)
        else:
            if candidate:
                cell = points.cell(ended.seconds / measure.scale)
            else:
                cell = plain = points.cell(ended.seconds) if plain is None else plain
            found.append((1 if cell > measure.cut else 0) if measure.cut and cell > 0 else cell)
    return found
