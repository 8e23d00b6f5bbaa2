"""Says in one word and one sentence, with its numbers, what is known of a candidate.

mismatch      the sides did not get the shares that were drawn: nothing that follows would be worth anything
harmful       the evidence that takes the candidate back was reached
warned        a tenth of it stands: no step ends until it is gone
unmeasured    a metric has never reported from a side that had requests: a defect, and no pass
insufficient  too little is known, for there was too little traffic
healthy       none of these
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Literal

import msgspec

from routing.rollout.betting import Evidence, Labels, Metric, level
from routing.rollout.mismatch import ALPHA, mismatch

Word = Literal["mismatch", "harmful", "warned", "unmeasured", "insufficient", "healthy"]
EARLY = 10.0  # a warning comes at so many times less than what takes the candidate back
CERTAIN = 100  # requests of a side after which a metric that never reported is a defect


class Verdict(msgspec.Struct, frozen=True):
    """`reached`: the largest odds against the candidate so far, of which 1/alpha suffice; `now`: what is left of them."""

    word: Word
    text: str
    reached: float
    now: float


def verdict(
    metrics: Sequence[Metric],
    evidence: Mapping[str, Evidence],
    drawn: Mapping[float, Labels],
    alpha: float,
    samples: tuple[int, int],
) -> Verdict:
    """`drawn`: by weight. `samples`: the candidate's requests in this step, and how many it needs."""
    each = [evidence.get(metric.name, Evidence()) for metric in metrics]
    reached = _odds(level(one.highest for one in each))
    now = _odds(level(one.fortune for one in each))
    worst = max(range(len(each)), key=lambda index: each[index].highest)
    text = f"odds of {reached:.3g} against the candidate, {1 / alpha:.3g} suffice; {said(metrics[worst], each[worst])}"
    silent = _silent(metrics, each, drawn)
    word: Word = "healthy"
    if mismatch(drawn) >= -log(ALPHA):
        word, text = "mismatch", _shares(drawn)
    elif reached >= 1 / alpha:
        word = "harmful"
    elif now >= 1 / (EARLY * alpha):
        word = "warned"
    elif silent:
        word, text = "unmeasured", f"never reported: {', '.join(silent)}"
    elif samples[0] < max(samples[1], 1) or not all(min(one.looked) for one in each):
        word, text = "insufficient", f"{samples[0]} requests of the candidate's in this step, {max(samples[1], 1)} are needed"
    return Verdict(word, text, reached, now)


def said(metric: Metric, evidence: Evidence) -> str:
    """The counts of one metric, with what chance would give."""
    stable, candidate = evidence.happened
    requests = sum(evidence.looked)
    part = evidence.looked[1] / requests if requests else 0.0
    happened = "answers beyond the stable side's 95 % point" if metric.kind == "latency" else "events"
    if metric.kind == "ceiling":
        return f"{metric.name}: {candidate} of {evidence.looked[1]} of the candidate's, {metric.most:.3%} are tolerated"
    return (
        f"{metric.name}: {candidate} of {stable + candidate} {happened} are the candidate's, which had {part:.2%} of the requests"
    )


def _odds(logarithm: float) -> float:
    return exp(min(logarithm, 700.0))


def _silent(metrics: Sequence[Metric], each: Sequence[Evidence], drawn: Mapping[float, Labels]) -> list[str]:
    """The metrics that have never reported from a side of which more is known: by the draws, or from other metrics."""
    found = []
    for side in (0, 1):
        most = max([*(one.looked[side] for one in each), sum(labels[side] for labels in drawn.values())])
        if most >= CERTAIN:
            found += [metric.name for metric, one in zip(metrics, each, strict=True) if not one.looked[side]]
    return sorted({*found})


def _shares(drawn: Mapping[float, Labels]) -> str:
    told = (f"{labels[1]} of {sum(labels)} where {weight:.3%} were to be" for weight, labels in sorted(drawn.items()))
    return f"the candidate did not get the share that was drawn: {', '.join(told)}"
