"""What there is to say of a rollout, for the API, the command line and a dashboard's annotations."""

from __future__ import annotations

from math import exp

import msgspec

from gateway.rollout.led import Led
from routing.rollout.betting import Evidence
from routing.rollout.rollout import ASKING, Note, Step, judge
from routing.rollout.verdict import said


class Guarded(msgspec.Struct, frozen=True):
    """One metric: the odds against the candidate that it alone has reached, and what they come from."""

    metric: str
    odds: float
    text: str


class Report(msgspec.Struct, frozen=True):
    """One rollout. `verdict` is "" while nothing is judged; `held` in seconds, `samples` in the candidate's requests, of this
    step; `notes` are what happened, the latest last, each with its moment in seconds since 1970. `gateways` are all that decide
    together, none where this one does so alone; `away` says how it goes on without the store that they share."""

    model: str
    rollout: str  # the stable variant
    candidate: str
    attempt: int
    state: str
    weight: float
    step: int
    steps: tuple[Step, ...]
    held: float
    samples: int
    proof: str
    alpha: float
    verdict: str
    text: str
    odds: float
    guards: tuple[Guarded, ...]
    notes: tuple[Note, ...]
    gateways: tuple[str, ...] = ()
    away: str = ""


def report(led: Led) -> Report:
    """Of a rollout as it stands at this gateway."""
    rollout, waits = led.rollout, led.waits
    terms, found = rollout.terms, judge(rollout)
    judged = rollout.state in ASKING
    each = [(metric, rollout.evidence.get(metric.name, Evidence())) for metric in terms.metrics]
    last = rollout.notes[-1].text if rollout.notes else "nobody has started it"
    return Report(
        *(rollout.model, rollout.stable, rollout.candidate, rollout.attempt, rollout.state, led.weight),
        *(rollout.step, terms.steps, rollout.held, rollout.samples, terms.proof, terms.alpha),
        verdict=found.word if judged else "",
        text=found.text if judged else waits or last,
        odds=found.reached,
        guards=tuple(Guarded(metric.name, exp(min(one.highest, 700.0)), said(metric, one)) for metric, one in each),
        notes=rollout.notes,
        gateways=led.gateways,
        away=_away(led),
    )


def _away(led: Led) -> str:
    if led.elsewhere:
        return "other gateways still go by another policy: no weight here until they have this one"
    if led.wish is not None:
        return "the store is away: rolled back at this gateway, others hear of it when the store is back"
    if led.alone is None:
        return ""
    if led.alone.harmful:
        return "the store is away: by what this gateway sees the candidate is harmful, and has no weight here until all decide"
    return "the store is away: this gateway keeps its weight, and no step ends"
