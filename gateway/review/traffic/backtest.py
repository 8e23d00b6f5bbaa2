"""What another policy would have done with recorded traffic: who would answer, what that costs, how long backends would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gateway.review.traffic.decided import Decided, Treatment
from gateway.review.traffic.forecast import Forecast
from gateway.review.traffic.times import Sized, Spread, Timetable, size, sized
from gateway.review.traffic.weights import Weights
from gateway.telemetry.sample import Sample

MOST_GROUPS = 500  # tiers come from tokens: more than anybody has are one
OTHER = "(other tiers)"


class Cost(msgspec.Struct, frozen=True):
    """`expected` lies in `low` to `high`, which are equal where all is known; None where nothing tells where in between."""

    expected: float | None
    low: float
    high: float


class Time(msgspec.Struct, frozen=True):
    """Milliseconds at backends, of answered requests. `unknown` is the share of which the log tells nothing: the mean is the
    others', and the 95th percentile lies between two values, of which the upper may be anything (None)."""

    mean: float | None
    p95_low: float | None
    p95_high: float | None
    unknown: float


class Was(msgspec.Struct, frozen=True):
    """One side of a comparison: requests refused, by whom the others are answered, cost and time."""

    refused: float
    answered: Mapping[str, float]
    cost: Cost
    time: Time
    late: float = 0.0  # answers that took longer than the route would now allow


class Row(msgspec.Struct, frozen=True):
    """A model, or one tier of it, or everything. Requests as many as the samples stand for."""

    model: str
    tier: str
    samples: int
    requests: float
    changed: float
    old: Was
    new: Was


class Move(msgspec.Struct, frozen=True):
    """Requests that would take another route or be answered by others."""

    model: str
    tier: str
    old: str
    new: str
    requests: float


class Result(msgspec.Struct, frozen=True):
    """All of it: the first row is everything, then each model, followed by its tiers where there are several."""

    rows: tuple[Row, ...]
    moves: tuple[Move, ...]
    bounded: float  # the share of requests whose new cost is known only within bounds or by others' example


class Backtest:
    """Takes one sample after another and adds up. `old` and `new` decide."""

    def __init__(self, old: Treatment, new: Treatment) -> None:
        self._old = old
        self._new = new
        self._times = Timetable()
        self._groups: dict[tuple[str, str], _Group] = {}
        self._pools: tuple[dict[int, _Pool], dict[int, _Pool]] = ({}, {})
        self._moves = Weights[tuple[str, str, str, str]]()

    def take(self, sample: Sample) -> bool:
        """One sample; whether the two treat it differently."""
        weight = 1 / sample.share
        old, new = self._old.decided(sample), self._new.decided(sample)
        changed = (old.route, old.label) != (new.route, new.label)
        group = self._group(sample)
        group.samples += 1
        group.requests += weight
        if changed:
            group.changed += weight
            self._moves[sample.model, group.tier, _way(old), _way(new)] += weight
        if sample.asks and sample.stages:
            _learn(self._times, sample, weight)
        group.old.take(sample, old, self._old.forecast(sample, old), self._pools[0])
        group.new.take(sample, new, self._new.forecast(sample, new), self._pools[1])
        return changed

    def result(self) -> Result:
        """What it comes to."""
        groups = sorted(self._groups.items())
        rows = [self._row("", "", [group for _, group in groups])]
        for model in dict.fromkeys(model for (model, _), _ in groups):
            tiers = [(tier, group) for (name, tier), group in groups if name == model]
            rows.append(self._row(model, "", [group for _, group in tiers]))
            if len(tiers) > 1:
                rows += [self._row(model, tier or "(none)", [group]) for tier, group in tiers]
        moves = tuple(Move(*key, requests=requests) for key, requests in self._moves.heaviest())
        whole = sum(group.requests for _, group in groups)
        bounded = sum(group.new.doubtful for _, group in groups)
        return Result(tuple(rows), moves, bounded / whole if whole else 0.0)

    def _group(self, sample: Sample) -> _Group:
        key = (sample.model, sample.tier)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MOST_GROUPS:
                key = (sample.model, OTHER)
            group = self._groups.setdefault(key, _Group(key[1]))
        return group

    def _row(self, model: str, tier: str, groups: list[_Group]) -> Row:
        return Row(
            model,
            tier,
            sum(group.samples for group in groups),
            sum(group.requests for group in groups),
            sum(group.changed for group in groups),
            _side([group.old for group in groups], self._pools[0], self._times),
            _side([group.new for group in groups], self._pools[1], self._times),
        )


class _Group:
    """One tier of one model."""

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.samples = 0
        self.requests = self.changed = 0.0
        self.old = _Side()
        self.new = _Side()


class _Pool:
    """What is known of one cascade's requests: the example for those of which it is not known how far they would go up."""

    def __init__(self) -> None:
        self.cost = self.rows = 0.0
        self.asked: dict[int, Weights[Sized]] = {}

    def take(self, forecast: Forecast, rows: int, weight: float) -> None:
        """One whose asks are known."""
        self.cost += forecast.low * weight
        self.rows += rows * weight
        self.asked.setdefault(size(rows), Weights())[sized(forecast.asked or ())] += weight

    def of_size(self, wanted: int) -> Weights[Sized]:
        """Whom requests of this size ask; of the nearest size there is."""
        return self.asked[min(self.asked, key=lambda each: (abs(each - wanted), each))]


class _Side:
    """What one policy makes of one group's requests, added up."""

    def __init__(self) -> None:
        self.refused = self.cost = self.low = self.high = self.late = self.doubtful = 0.0
        self.answered = Weights[str]()
        self.kept = Spread()  # times as they were
        self.asked = Weights[Sized]()  # whose times are to be told from others'
        self.doubts: dict[tuple[int, int], list[float]] = {}  # by plan and size: requests, rows, low, high

    def take(self, sample: Sample, decided: Decided, forecast: Forecast, pools: dict[int, _Pool]) -> None:
        weight = 1 / sample.share
        if decided.refused:
            self.refused += weight
            return
        self.answered[decided.label] += weight
        plan, rows = decided.facts, sample.rows or 1
        if forecast.asked is None and not forecast.kept and plan is not None:
            self.doubtful += weight
            doubt = self.doubts.setdefault((plan.key, size(rows)), [0.0, 0.0, 0.0, 0.0])
            for index, more in enumerate((1, rows, forecast.low, forecast.high)):
                doubt[index] += more * weight
            return
        self.cost += forecast.low * weight
        if plan is not None and len(plan.stages) > 1 and forecast.asked:
            pools.setdefault(plan.key, _Pool()).take(forecast, rows, weight)
        if not forecast.kept:
            self.asked[sized(forecast.asked or ())] += weight
        elif sample.asks:
            self.kept.add(sample.backend_ms, weight)
            if plan is not None and sample.ms > plan.timeout * 1e3:
                self.late += weight


def _learn(times: Timetable, sample: Sample, weight: float) -> None:
    """The sample's own times. Whoever stood in for a stage goes by their variant's name, which no plan asks for."""
    if len(sample.asks) == 1:
        (stage, *_), (ask,) = sample.stages, sample.asks
        times.asked(stage.target if stage.variant == ask.variant else f"~{ask.variant}", ask.rows, ask.ms, weight)
        return
    named = [
        stage.target if stage.variant == ask.variant else f"~{ask.variant}"
        for stage, ask in zip(sample.stages, sample.asks, strict=False)
    ]
    for target, ask in zip(named, sample.asks, strict=False):
        times.asked(target, ask.rows, ask.ms, weight)
    chain = tuple([(target, ask.rows.bit_length()) for target, ask in zip(named, sample.asks, strict=False)])
    times.chained(chain, sample.backend_ms, weight)


def _way(decided: Decided) -> str:
    return decided.label if decided.refused else f"{decided.route}: {decided.label}"


def _side(sides: list[_Side], pools: Mapping[int, _Pool], times: Timetable) -> Was:
    answered = Weights[str]()
    for side in sides:
        answered.take(side.answered)
    return Was(
        sum(side.refused for side in sides),
        dict(answered.heaviest()),
        _cost(sides, pools),
        _time(sides, pools, times),
        sum(side.late for side in sides),
    )


def _cost(sides: Iterable[_Side], pools: Mapping[int, _Pool]) -> Cost:
    known = low = high = 0.0
    expected: float | None = 0.0
    for side in sides:
        known += side.cost
        for (plan, _), (_, rows, least, most) in side.doubts.items():
            low, high = low + least, high + most
            pool = pools.get(plan)
            if pool is None:
                expected = None
            elif expected is not None:
                expected += min(max(pool.cost / pool.rows * rows, least), most)
    return Cost(None if expected is None else known + expected, known + low, known + high)


def _time(sides: Iterable[_Side], pools: Mapping[int, _Pool], times: Timetable) -> Time:
    found, unknown = Spread(), 0.0
    for side in sides:
        found.take(side.kept, side.kept.weight)
        wanted = Weights[Sized]()
        wanted.take(side.asked)
        for (plan, of_size), (requests, *_) in side.doubts.items():
            pool = pools.get(plan)
            if pool is None:
                unknown += requests
                continue
            examples = pool.of_size(of_size)
            wanted.take(examples, requests / sum(examples.values()))
        for asked, weight in wanted.items():
            spread = times.expected(asked)
            if spread is None:
                unknown += weight
            else:
                found.take(spread, weight)
    return _told(found, unknown)


def _told(found: Spread, unknown: float) -> Time:
    whole = found.weight + unknown
    if not found.weight:
        return Time(None, None, None, 1.0 if unknown else 0.0)
    wanted = 0.95 * whole
    low = found.quantile(max(0.0, wanted - unknown) / found.weight)
    high = found.quantile(wanted / found.weight) if wanted <= found.weight else None
    return Time(found.mean, low, high, unknown / whole)
