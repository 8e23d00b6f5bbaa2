"""Answers how long an A/B test has to run, or what it can show in a given time, with what it costs to look early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, inf, isfinite

import msgspec
import numpy as np

from gateway.review.words import share
from routing.rollout.experiment import LEAST, MOST, Design, detectable, size
from routing.rollout.peeking import RUNS, false_alarms

LOOKS = 100  # where nobody says how many there will be
MOST_LOOKS = 10_000


class Wanted(msgspec.Struct, frozen=True):
    """What somebody asks: `effect` or `units` is None, and is the answer. `per_day`: units that take part on each day."""

    rate: float  # the stable side's; with a deviation, its mean
    deviation: float | None
    effect: float | None
    units: int | None
    per_day: float | None
    weight: float
    alpha: float
    power: float
    looks: int | None


class Way(msgspec.Struct, frozen=True):
    """One way to look: the units of both sides together, the difference that they show, and the days until then."""

    units: int
    effect: float
    days: float | None = None


class Plan(msgspec.Struct, frozen=True):
    """The answer. `price`: how many times the fixed horizon's units (or effect) looking at any time needs; `false_alarms`: of a
    test for one look, if it is looked at `looks` times without correction, in experiments in which nothing differs."""

    wanted: Wanted
    fixed: Way
    anytime: Way
    price: float
    looks: int
    false_alarms: float

    @property
    def possible(self) -> bool:
        """Whether there is an answer at all: with hardly an event on a side nothing could be said of it."""
        return all(way.units < MOST and isfinite(way.effect) and _enough(self.wanted, way) for way in (self.fixed, self.anytime))

    def told(self) -> dict[str, object]:
        """For JSON, in which nothing is infinite."""
        found: dict[str, object] = {**msgspec.structs.asdict(self), "possible": self.possible}
        for name in ("wanted", "fixed", "anytime"):
            found[name] = {key: _finite(value) for key, value in msgspec.structs.asdict(getattr(self, name)).items()}
        return {**found, "price": _finite(self.price)}


def plan(wanted: Wanted, random: np.random.Generator) -> Plan:
    """The answer. Raises ValueError for what cannot be asked."""
    _check(wanted)
    design = Design(wanted.rate, wanted.weight, wanted.alpha, wanted.power, wanted.deviation)
    if wanted.effect is not None:
        sizes = size(design, wanted.effect)
        fixed, anytime = (_way(wanted, units, wanted.effect) for units in (sizes.fixed, sizes.anytime))
        price = sizes.price
    else:
        units = wanted.units or 0
        fixed, anytime = (_way(wanted, units, detectable(design, units, each)) for each in (False, True))
        price = anytime.effect / fixed.effect if isfinite(fixed.effect) else inf
    looks = wanted.looks or (LOOKS if fixed.days is None else min(max(ceil(fixed.days), 1), MOST_LOOKS))
    return Plan(wanted, fixed, anytime, price, looks, false_alarms(looks, wanted.alpha, random))


def sentences(found: Plan, strong: Callable[[str], str] = str) -> Iterator[str]:
    """The answer for people. `strong` paints what to look at first."""
    wanted = found.wanted
    sides = f"{share(wanted.weight)} of the units to the candidate, power {share(wanted.power)}, α {share(wanted.alpha)}"
    if not found.possible:
        yield f"that many units cannot find anything, or no number of units finds that ({sides})"
        return
    if wanted.effect is not None:
        yield strong(f"to find {_change(wanted, wanted.effect)}") + f" ({sides})"
    else:
        yield strong(f"what {wanted.units:,} units can show") + f" ({sides})"
    yield ""
    yield f"  {'':<14}{'units, both sides':>18}  {'finds':<28}{'days':>7}  looks"
    for name, way, looks in (("fixed horizon", found.fixed, "one, at the end"), ("anytime", found.anytime, "whenever you like")):
        days = "" if way.days is None else f"{way.days:.1f}"
        yield f"  {name:<14}{way.units:>18,}  {_change(wanted, way.effect):<28}{days:>7}  {looks}"
    yield ""
    what = "units" if wanted.effect is not None else "effect"
    yield f"the price of peeking: {found.price:.2f} times the {what}; where the effect is larger the anytime test ends sooner"
    yield (
        f"A test for one look that is looked at {found.looks} times and stopped when it finds something cries wolf in"
        f" {found.false_alarms:.1%} of experiments in which nothing differs, and not in {share(wanted.alpha)}"
        f" (simulated, {RUNS:,} of them)."
    )


def _change(wanted: Wanted, effect: float) -> str:
    relative = f" ({share(effect / wanted.rate, '+')})" if wanted.rate else ""
    if wanted.deviation is not None:
        return f"{wanted.rate:.6g} → {wanted.rate + effect:.6g}{relative}"
    return f"{share(wanted.rate)} → {share(wanted.rate + effect)}{relative}"


def _way(wanted: Wanted, units: int, effect: float) -> Way:
    return Way(units, effect, None if wanted.per_day is None else units / wanted.per_day)


def _enough(wanted: Wanted, way: Way) -> bool:
    rate = wanted.rate + wanted.weight * way.effect
    events = way.units * min(wanted.weight, 1 - wanted.weight) * min(rate, 1 - rate)
    return wanted.deviation is not None or events >= LEAST


def _check(wanted: Wanted) -> None:
    if wanted.deviation is None and not 0 < wanted.rate < 1:
        raise ValueError("a rate lies above 0% and below 100%")
    if wanted.deviation is not None and not 0 < wanted.deviation < inf:
        raise ValueError("a deviation is more than 0")
    for name in ("weight", "alpha", "power"):
        if not 0 < getattr(wanted, name) < 1:
            raise ValueError(f"--{name} lies above 0% and below 100%")
    if wanted.effect is not None and (not wanted.effect or not isfinite(wanted.effect)):
        raise ValueError("no difference at all cannot be found: give an effect that would matter to you")
    if wanted.effect is not None and wanted.deviation is None and not 0 <= wanted.rate + wanted.effect <= 1:
        raise ValueError(f"{share(wanted.rate)} and {share(wanted.effect, '+')} is no rate")
    if wanted.units is not None and not 0 < wanted.units < MOST:
        raise ValueError("the units are a whole number above 0")
    if wanted.per_day is not None and not 0 < wanted.per_day < inf:
        raise ValueError("--per-day, and --share of it, is more than 0")
    if wanted.looks is not None and not 0 < wanted.looks <= MOST_LOOKS:
        raise ValueError(f"--looks is a whole number from 1 to {MOST_LOOKS:,}")


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not isfinite(value) else value
