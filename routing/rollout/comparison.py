"""Says what an A/B test has found of one metric, in a word and a sentence, with an interval that holds at all times together.

mismatch      the sides did not get the shares that were drawn: no difference would be worth anything
insufficient  too little is known: every difference is possible
more, less    the candidate's mean is above or below the stable side's
open          nothing is shown: the interval has 0 in it
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Literal

import msgspec

from routing.rollout.betting import Labels
from routing.rollout.experiment import Arm, difference
from routing.rollout.feedback import Feedback
from routing.rollout.mismatch import ALPHA, mismatch

Found = Literal["mismatch", "insufficient", "more", "less", "open"]


class Sides(msgspec.Struct, frozen=True):
    """What was told of one metric: the values as numbers from 0 to 1 (see `scaled`), the stable side's and the candidate's."""

    stable: Arm = Arm()
    candidate: Arm = Arm()


class Comparison(msgspec.Struct, frozen=True):
    """What is asked of it. `drawn`: units by side; `narrowest`: after how many units the interval is so, settled beforehand."""

    weight: float
    alpha: float
    narrowest: float
    drawn: Labels


class Compared(msgspec.Struct, frozen=True):
    """The answer, in the metric's own numbers. `of`: how many units each mean is of."""

    metric: str
    found: Found
    text: str
    of: Labels
    means: tuple[float | None, float | None]
    difference: float | None
    low: float
    high: float


def scaled(feedback: Feedback, value: float) -> float:
    """From 0 to 1. Of a metric of all units 0 is what nobody told, wherever its bounds are."""
    low, high = bounds(feedback)
    return (value - low) / (high - low)


def bounds(feedback: Feedback) -> tuple[float, float]:
    """Between which numbers a unit's value lies."""
    return (min(feedback.low, 0.0), max(feedback.high, 0.0)) if feedback.of == "all" else (feedback.low, feedback.high)


def compared(feedback: Feedback, sides: Sides, comparison: Comparison) -> Compared:
    """The difference of the means and how sure it is."""
    low, high = bounds(feedback)
    span, arms = high - low, (sides.stable, sides.candidate)
    if feedback.of == "all":  # those of whom nothing was told are 0
        arms = _filled(arms[0], comparison.drawn[0], -low / span), _filled(arms[1], comparison.drawn[1], -low / span)
    means = tuple(low + span * arm.total / arm.number if arm.number else None for arm in arms)
    of = arms[0].number, arms[1].number
    if means[0] is None or means[1] is None:
        text = f"of {_count(of[0])} on the stable side and {_count(of[1])} on the candidate's: nothing to compare yet"
        return Compared(feedback.metric, "insufficient", text, of, (means[0], means[1]), None, -span, span)
    interval = difference(arms[0], arms[1], comparison.alpha, comparison.narrowest)
    least, most = span * interval.low, span * interval.high
    found: Found = "insufficient" if most - least >= 2 * span else "more" if least > 0 else "less" if most < 0 else "open"
    text = (
        f"{_told(feedback, means[0])} of {_count(of[0])}, the candidate {_told(feedback, means[1])} of {_count(of[1])}:"
        f" {_told(feedback, means[1] - means[0], '+')} ({_told(feedback, least, '+')} to {_told(feedback, most, '+')})"
    )
    if mismatched({comparison.weight: comparison.drawn}):
        found, text = (
            "mismatch",
            f"the sides got {comparison.drawn[0]:,} and {comparison.drawn[1]:,} units, the candidate was to have",
        )
        text += f" {comparison.weight:.3%}: no difference would be worth anything"
    return Compared(feedback.metric, found, text, of, (means[0], means[1]), span * interval.estimate, least, most)


def mismatched(drawn: Mapping[float, Labels]) -> bool:
    """Whether units did not get their sides by the weights."""
    return mismatch(drawn) >= -log(ALPHA)


def _filled(arm: Arm, number: int, nothing: float) -> Arm:
    rest = max(number - arm.number, 0)
    return Arm(arm.number + rest, arm.total + rest * nothing, arm.squares + rest * nothing**2)


def _count(number: int) -> str:
    return f"{number:,} unit{'' if number == 1 else 's'}"


def _told(feedback: Feedback, number: float, sign: str = "") -> str:
    """A rate in per cent, a difference of rates in points."""
    if feedback.yes_or_no:
        return f"{100 * number:+.3f} points" if sign else f"{number:.3%}"
    return f"{number:{sign}.4g}"
