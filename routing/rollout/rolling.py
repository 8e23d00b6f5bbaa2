"""Says what the policy wants of a rollout: who takes whose place, whose units, by which terms, and what each metric measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

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


class Reader:
    """Reads what became of a request: one cell for each metric, for a Tally. What hangs on the outcome alone it knows."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._known = {outcome: [_known(measure, outcome) for measure in measures] for outcome in get_args(Outcome)}
        each = list(enumerate(measures))
        self._latencies = [(index, measure.scale, measure.cut) for index, measure in each if measure.what == "latency"]
        self._looking = [(index, measure) for index, measure in each if measure.looks]

    def __call__(self, points: LatencyPoints, ended: Ended, candidate: bool) -> list[int]:
        """In the order of the measures."""
        found = self._known[ended.outcome].copy()
        plain: int | None = None  # of the stable side's seconds, which no scale changes
        for index, scale, cut in self._latencies:
            if candidate:
                cell = points.cell(ended.seconds / scale)
            else:
                cell = plain = points.cell(ended.seconds) if plain is None else plain
            found[index] = (1 if cell > cut else 0) if cut and cell > 0 else cell
        if ended.response is not None:
            for index, measure in self._looking:
                found[index] = (unparseable if measure.what == "unparseable" else flagged)(ended.response, measure.output)
        return found


def _known(measure: Measure, outcome: Outcome) -> int:
    """Of an error, a timeout, an answer that nobody can read; what has to be looked for is unmeasured where nothing came."""
    match measure.what:
        case "error":
            return int(outcome in ("error", "broken", "late"))
        case "timeout":
            return int(outcome == "late")
        case "unparseable" if outcome == "broken":
            return 1
        case _:
            return UNMEASURED
