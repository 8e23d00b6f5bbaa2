"""Says what the policy wants of a rollout: who takes whose place, whose units, by which terms, and what each metric measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from backends.inference import InferenceResponse
from routing.plan import Target
from routing.rollout.answers import flagged, unparseable
from routing.rollout.betting import UNMEASURED
from routing.rollout.feedback import Feedback
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.rollout import Terms
from routing.rollout.units import Excluded

What = Literal["error", "timeout", "latency", "unparseable", "guardrail", "elsewhere"]
Outcome = Literal["ok", "error", "broken", "late", "left"]


class Measure(msgspec.Struct, frozen=True):
    """How a metric reads a request that has ended. `cut`: the cell of its latency beyond which it happened; 0: the cell itself.

    `scale`: the candidate's seconds are divided by it, so that what is tolerated is no slowness. `output`: of the answer, where
    something is looked for. `elsewhere`: no request tells by itself; somebody else does, later.
    """

    what: What
    scale: float = 1.0
    cut: int = 0
    output: str = ""

    @property
    def looks(self) -> bool:
        """Whether it wants to see the answer."""
        return self.what in ("unparseable", "guardrail")


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
    """What became of an ask, and how long it took: an answer, an error (`broken`: nobody can read what came), one because time
    was up, or its client left before. `response` is what a measure may want to look at."""

    outcome: Outcome
    seconds: float
    response: InferenceResponse | None = None


def cells(measures: Sequence[Measure], points: LatencyPoints, ended: Ended, candidate: bool) -> list[int]:
    """One cell for each metric, as a Tally wants them."""
    found, outcome = [], ended.outcome
    plain: int | None = None  # of the stable side's seconds, which no scale changes
    for measure in measures:
        if measure.what == "error":
            found.append(1 if outcome in ("error", "broken", "late") else 0)
        elif measure.what == "timeout":
            found.append(1 if outcome == "late" else 0)
        elif measure.what != "latency":
            found.append(_seen(measure, ended))
        else:
            if candidate:
                cell = points.cell(ended.seconds / measure.scale)
            else:
                cell = plain = points.cell(ended.seconds) if plain is None else plain
            found.append((1 if cell > measure.cut else 0) if measure.cut and cell > 0 else cell)
    return found


def _seen(measure: Measure, ended: Ended) -> int:
    """What was looked for in the answer; without one there is nothing to see."""
    if measure.what == "unparseable" and ended.outcome == "broken":
        return 1
    if ended.response is None or not measure.looks:
        return UNMEASURED
    return (unparseable if measure.what == "unparseable" else flagged)(ended.response, measure.output)
