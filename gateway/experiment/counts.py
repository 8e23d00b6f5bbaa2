"""Adds up what was told of one attempt at one weight, side by side: a sticky unit counts once, by what is told of it first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from gateway.experiment.journal import Stood
from routing.rollout.comparison import Sides, scaled
from routing.rollout.experiment import Arm
from routing.rollout.feedback import Feedback

MOST = 524_288  # units that are remembered: 40 MB; later ones do not count, on neither side


class Counted(msgspec.Struct, frozen=True):
    """What there is to keep. `places`: of sticky units, as 64-bit floats; `bits`: for each a byte, in which a bit is set for
    each metric that was told of it."""

    attempt: str
    weight: float
    since: float  # seconds since 1970
    drawn: tuple[int, int] = (0, 0)
    sides: Mapping[str, Sides] = {}
    feedback: tuple[Feedback, ...] = ()
    places: bytes = b""
    bits: bytes = b""
    full: bool = False


class Sums(msgspec.Struct, frozen=True):
    """What gateways of a store tell each other of one attempt at one weight, where each request is a unit."""

    drawn: tuple[int, int]
    sides: Mapping[str, Sides]
    feedback: tuple[Feedback, ...]


def together(every: Sequence[Sums]) -> Sums:
    """All of them; of those that take other metrics than the first nothing."""
    first, drawn = every[0], [0, 0]
    sides: dict[str, Sides] = {}
    for each in every:
        if each.feedback == first.feedback:
            drawn = [drawn[0] + each.drawn[0], drawn[1] + each.drawn[1]]
            for name, more in each.sides.items():
                had = sides.get(name, Sides())
                sides[name] = Sides(_plus(had.stable, more.stable), _plus(had.candidate, more.candidate))
    return Sums((drawn[0], drawn[1]), sides, first.feedback)


class Counts:
    """Of one attempt at one weight. The metrics' places in `feedback` are their bits, as long as it is the same."""

    def __init__(self, kept: Counted, feedback: Sequence[Feedback], sticky: bool, most: int = MOST) -> None:
        same = tuple(kept.feedback) == tuple(feedback)
        self._kept, self.sticky, self._most = kept, sticky, most
        self.feedback = tuple(feedback)
        self.drawn = list(kept.drawn)
        keep = {each.metric for each in feedback if each in tuple(kept.feedback)}
        self._sides = {name: sides for name, sides in kept.sides.items() if name in keep}
        bits: Sequence[int] = kept.bits if same else [_moved(each, kept.feedback, feedback) for each in kept.bits]
        self._known: dict[float, int] = dict(zip(np.frombuffer(kept.places, np.float64).tolist(), bits, strict=True))
        self.full = kept.full

    @property
    def standing(self) -> Counted:
        """Which attempt and weight it is of, and since when; what was counted since it was made is not in it."""
        return self._kept

    def scaled(self, bit: int, value: float) -> float:
        """A value of this metric from 0 to 1."""
        return scaled(self.feedback[bit], value)

    def asked(self, stood: Stood) -> None:
        """A request was counted; a sticky unit's first makes it one of its side's."""
        if stood.weight != self._kept.weight:
            return
        if self.sticky:
            if stood.place in self._known:
                return
            if len(self._known) >= self._most:
                self.full = True
                return
            self._known[stood.place] = 0
        self.drawn[stood.place < stood.weight] += 1

    def told(self, bit: int, value: float, stood: Stood) -> str:
        """What became of it: `joined`; `later` for a unit of which it was told already; `earlier` for one of another weight;
        `full` for one that is not remembered."""
        if stood.weight != self._kept.weight:
            return "earlier"
        if self.sticky:
            known = self._known.get(stood.place)
            if known is None:
                return "full"
            if known & 1 << bit:
                return "later"
            self._known[stood.place] = known | 1 << bit
        feedback = self.feedback[bit]
        sides, number = self._sides.get(feedback.metric, Sides()), scaled(feedback, value)
        if stood.place < stood.weight:
            self._sides[feedback.metric] = Sides(sides.stable, _more(sides.candidate, number))
        else:
            self._sides[feedback.metric] = Sides(_more(sides.stable, number), sides.candidate)
        return "joined"

    def sums(self) -> Sums:
        """What was told, by metric."""
        return Sums((self.drawn[0], self.drawn[1]), dict(self._sides), self.feedback)

    def kept(self) -> Counted:
        """For a file."""
        kept = self._kept
        drawn, number = (self.drawn[0], self.drawn[1]), len(self._known)
        places = np.fromiter(self._known, np.float64, number).tobytes()
        bits = bytes(self._known.values())
        return Counted(kept.attempt, kept.weight, kept.since, drawn, dict(self._sides), self.feedback, places, bits, self.full)


def _more(arm: Arm, number: float) -> Arm:
    return Arm(arm.number + 1, arm.total + number, arm.squares + number * number)


def _plus(one: Arm, other: Arm) -> Arm:
    return Arm(one.number + other.number, one.total + other.total, one.squares + other.squares)


def _moved(bits: int, old: Sequence[Feedback], new: Sequence[Feedback]) -> int:
    """The bits of the metrics that are as they were, at their new places."""
    return sum(1 << place for place, each in enumerate(new) if each in tuple(old) and bits & 1 << list(old).index(each))
