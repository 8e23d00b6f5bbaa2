"""Replaces a stable variant by a candidate, step by step, and takes it back when the evidence against it suffices.

A pure state machine: it is told the time, what was counted and what people want, and answers with what it is now. Everything
that it was told to do (steps, metrics, alpha) is fixed when it starts and kept with it, so that neither a restart nor a changed
policy changes the terms of a bet. A rollout that was rolled back never gets weight again; another try is another rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import msgspec
from msgspec.structs import replace

from backends.errors import invalid
from routing.rollout.betting import Evidence, Labels, Metric, look
from routing.rollout.seen import Seen
from routing.rollout.tally import DRAWN, Batch
from routing.rollout.verdict import Verdict, verdict

K = TypeVar("K")
State = Literal["pending", "warming", "running", "frozen", "paused", "promoted", "rolled-back"]
Happening = Literal["start", "ready", "unfit", "warn", "calm", "advance", "finish", "harm", "pause", "resume", "rollback"]
Proof = Literal["time", "mirror", "person"]
Verb = Literal["start", "pause", "resume", "promote", "rollback"]

# What follows from what; whatever is not here does not happen. `advance` and `finish` end a step, the last one with `finish`.
TABLE: Mapping[State, Mapping[Happening, State]] = {
    "pending": {"start": "warming", "rollback": "rolled-back"},
    "warming": {"ready": "running", "unfit": "rolled-back", "rollback": "rolled-back"},
    "running": {
        "advance": "running",
        "finish": "promoted",
        "warn": "frozen",
        "pause": "paused",
        "harm": "rolled-back",
        "rollback": "rolled-back",
    },
    "frozen": {  # goes on at its weight until it calms down, or a person decides
        "calm": "running",
        "advance": "running",
        "finish": "promoted",
        "pause": "paused",
        "harm": "rolled-back",
        "rollback": "rolled-back",
    },
    "paused": {  # keeps its weight and is judged, and no step ends by itself
        "resume": "running",
        "advance": "running",
        "finish": "promoted",
        "harm": "rolled-back",
        "rollback": "rolled-back",
    },
    "promoted": {"rollback": "rolled-back"},
    "rolled-back": {},
}
ASKING: frozenset[State] = frozenset({"running", "frozen", "paused"})  # the candidate is asked, and judged
GAP = 60.0  # seconds that count at most between two ticks: who was away did not hold a step
NOTES = 100


class Step(msgspec.Struct, frozen=True):
    """A weight that is held for so many seconds and so many of the candidate's requests at least."""

    weight: float
    hold: float = 0.0
    samples: int = 0


class Terms(msgspec.Struct, frozen=True):
    """What is agreed at the start. Weights grow; a last one below 1 is followed by 1 all the same.

    `proof`: what a step needs beside its time and samples: nothing more, that a shadow found the answers the same, or a person.
    """

    steps: tuple[Step, ...]
    metrics: tuple[Metric, ...]
    alpha: float = 0.01
    proof: Proof = "mirror"
    sticky: bool = True


class Note(msgspec.Struct, frozen=True):
    """Something that happened, for the log, the audit and a dashboard's annotations. `at`: seconds since 1970."""

    at: float
    who: str
    what: Happening
    state: State
    weight: float
    text: str


class Rollout(msgspec.Struct, frozen=True):
    """All that there is to keep. What a later version adds has a default; what this one does not know it leaves out."""

    model: str
    stable: str
    candidate: str
    terms: Terms
    attempt: int = 1
    state: State = "pending"
    step: int = 0
    held: float = 0.0  # seconds of this step
    samples: int = 0  # the candidate's requests in this step
    told: float | None = None  # when it last was told the time
    evidence: Mapping[str, Evidence] = {}
    drawn: Mapping[float, Labels] = {}
    notes: tuple[Note, ...] = ()

    @property
    def id(self) -> str:
        """Keys the units' places: each attempt draws anew."""
        return f"{self.model}/{self.stable}/{self.candidate}/{self.attempt}"

    @property
    def weight(self) -> float:
        """The candidate's share from now on."""
        if self.state == "promoted":
            return 1.0
        return self.terms.steps[self.step].weight if self.state in ASKING else 0.0


def memory(rollout: Rollout, known: Mapping[str, Mapping[float, float]] | None = None) -> dict[str, Seen]:
    """What a rollout of sticky units must remember of them, by metric; "" is of the draws. `known`: as it was stored."""
    return {name: Seen((known or {}).get(name)) for name in ("", *(metric.name for metric in rollout.terms.metrics))}


def observe(rollout: Rollout, batch: Batch, seen: Mapping[str, Seen]) -> Rollout:
    """With what was counted. `seen` is told of the units that the batch names."""
    metrics = rollout.terms.metrics
    counted: list[dict[tuple[int, float], Labels]] = [{} for _ in (*metrics, None)]  # the last, at DRAWN, is of the draws
    for count in batch.counts:
        _add(counted[count.metric], (count.cell, count.weight), count.labels)
    for reveal in batch.reveals:
        name = "" if reveal.metric == DRAWN else metrics[reveal.metric].name
        chance = seen[name].coin(reveal.place, reveal.weight)
        if chance:
            candidate = reveal.place < reveal.weight
            _add(counted[reveal.metric], (reveal.cell, chance), (not candidate, candidate))
    drawn = dict(rollout.drawn)
    for (_, weight), labels in counted[DRAWN].items():
        _add(drawn, weight, labels)
    evidence = {
        metric.name: look(metric, rollout.evidence.get(metric.name, Evidence()), counted[index], batch.looked[index])
        for index, metric in enumerate(metrics)
    }
    asked = [labels[1] for metric, labels in zip(metrics, batch.looked, strict=True) if not metric.beside]
    samples = rollout.samples + max(asked, default=0)
    return replace(rollout, evidence=evidence, drawn=drawn, samples=samples)


def judge(rollout: Rollout) -> Verdict:
    """What the evidence says now, with its numbers."""
    terms = rollout.terms
    samples = rollout.samples, terms.steps[rollout.step].samples
    return verdict(terms.metrics, rollout.evidence, rollout.drawn, terms.alpha, samples)


def tick(rollout: Rollout, now: float, mirror: str = "") -> Rollout:
    """What the machine does by itself. `mirror`: the shadow's verdict of the answers, which has to be `same`."""
    passed = min(max(now - rollout.told, 0.0), GAP) if rollout.told is not None else 0.0
    rollout = replace(rollout, told=now, held=rollout.held + passed * (rollout.state == "running"))
    if rollout.state not in ASKING:
        return rollout
    found = judge(rollout)
    match found.word, rollout.state:
        case "harmful", _:
            return _move(rollout, "harm", now, found.text)
        case (("warned" | "mismatch"), "running"):
            return _move(rollout, "warn", now, found.text)
        case word, "running" if word == "healthy" or (word == "insufficient" and _unopposed(rollout)):
            return _promoted(rollout, now, mirror, found)
        case (("healthy" | "insufficient" | "unmeasured"), "frozen") if found.now < 1:
            return _move(rollout, "calm", now, found.text)
        case _:
            return rollout


def command(rollout: Rollout, verb: Verb, who: str, now: float, why: str = "") -> Rollout:
    """What a person wants. `promote` ends the step whatever the evidence says. Raises INVALID where it cannot be."""
    happening: Happening = _next(rollout) if verb == "promote" else verb
    if happening not in TABLE[rollout.state]:
        raise invalid(f"a rollout that is {rollout.state} cannot {verb}")
    return _move(rollout, happening, now, why or f"{who} said {verb}; {judge(rollout).text}", who)


def warmed(rollout: Rollout, now: float, unfit: str = "") -> Rollout:
    """The candidate is ready, its signature is the stable one's and it has been asked before; or why that is not so."""
    return _move(rollout, "unfit" if unfit else "ready", now, unfit or "the candidate is ready")


def _promoted(rollout: Rollout, now: float, mirror: str, found: Verdict) -> Rollout:
    step = rollout.terms.steps[rollout.step]
    if rollout.held < step.hold or (rollout.terms.proof == "mirror" and mirror != "same") or rollout.terms.proof == "person":
        return rollout
    proof = "the shadow found the answers the same" if mirror == "same" else "time and requests suffice by the policy"
    return _move(rollout, _next(rollout), now, f"held for {rollout.held:.0f} s; {found.text}; {proof}")


def _unopposed(rollout: Rollout) -> bool:
    """Whether all that is missing is a stable side to compare with, which nobody has at 1."""
    return rollout.weight >= 1 and rollout.samples >= max(rollout.terms.steps[rollout.step].samples, 1)


def _next(rollout: Rollout) -> Happening:
    steps = rollout.terms.steps
    last = rollout.step + 1 >= len(steps) or steps[rollout.step + 1].weight >= 1
    return "finish" if last else "advance"


def _move(rollout: Rollout, happening: Happening, now: float, text: str, who: str = "penstock") -> Rollout:
    state = TABLE[rollout.state].get(happening)
    if state is None:  # a late word: the candidate became ready after it was taken back
        return rollout
    moved = replace(rollout, state=state)
    if happening in ("ready", "advance"):
        moved = replace(moved, step=rollout.step + (happening == "advance"), held=0.0, samples=0)
    note = Note(now, who, happening, state, moved.weight, text)
    return replace(moved, notes=(*rollout.notes, note)[-NOTES:])


def _add(counts: dict[K, Labels], key: K, labels: Labels) -> None:
    stable, candidate = counts.get(key, (0, 0))
    counts[key] = stable + labels[0], candidate + labels[1]
