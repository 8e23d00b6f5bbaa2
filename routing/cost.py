"""What an ask has cost, and what one of so many rows usually costs, and costs at most, before it is made.

Rows and the ask itself have a price that is known beforehand. Time and tokens are known afterwards only, so for each variant a
line is drawn through what its latest asks took, by rows (least squares, the latest some thousand): a batch of a hundred rows
takes neither what one takes nor a hundred times that. The most that a row has taken lately is remembered beside it. None of that
is a promise. What an ask can cost at most hangs on nothing that was seen: no ask has longer than its question, nor than its
variant's timeout, and no more is paid for than the price says.
"""

from __future__ import annotations

from collections.abc import Sequence

from routing.plan import Plan, Target
from routing.price import Price

FADES = 0.999  # of what was seen is left with each ask: it weighs as much as the latest thousand


class Usual:
    """How much of something asks take, by their rows."""

    __slots__ = ("_asks", "_peak", "_rows", "_squares", "_total", "_weighted")

    def __init__(self) -> None:
        self._asks = self._rows = self._squares = self._total = self._weighted = self._peak = 0.0

    def saw(self, rows: int, amount: float) -> None:
        """An ask of so many rows, at least 1, took so much."""
        self._asks = self._asks * FADES + 1
        self._rows = self._rows * FADES + rows
        self._squares = self._squares * FADES + rows * rows
        self._total = self._total * FADES + amount
        self._weighted = self._weighted * FADES + rows * amount
        self._peak = max(self._peak * FADES, amount / rows)

    def likely(self, rows: int) -> float:
        """What such an ask takes on average; 0 where none was seen. Never falls with the rows."""
        if not self._asks:
            return 0.0
        mean, usual = self._rows / self._asks, self._total / self._asks
        spread = self._squares / self._asks - mean * mean
        slope = (self._weighted / self._asks - mean * usual) / spread if spread > 1e-9 * mean * mean else usual / mean
        slope = min(max(slope, 0.0), usual / mean)  # a line above 0 at 0 rows
        return usual + slope * (rows - mean)

    def most(self, rows: int) -> float:
        """As much for each row as any ask took lately; 1 where none was seen: what nobody knows yet is not free."""
        return (self._peak or 1.0) * rows


class Costs:
    """What asks of every variant have taken in this process; outlives every policy. One for each model and variant."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[Usual, Usual]] = {}  # milliseconds, tokens

    def answered(self, model: str, target: Target, rows: int, seconds: float, tokens: float | None) -> float:
        """The cost of an ask that was answered. `tokens` None: nobody knows, so as many as usual."""
        price = target.price
        if price is None:
            return target.cost * rows
        milliseconds, counts = self._usual(model, target.variant)
        taken = _paid_for(price, seconds)
        milliseconds.saw(rows, taken)
        if tokens is None:
            tokens = counts.likely(rows) if price.token else 0.0
        elif price.token:
            counts.saw(rows, tokens)
        return _sum(target, price, rows, taken, tokens)

    def let_go(self, model: str, target: Target, rows: int, seconds: float) -> float:
        """The cost of an ask that a backend had for so long, and whose answer nobody waited for."""
        price = target.price
        if price is None:
            return target.cost * rows
        tokens = self._usual(model, target.variant)[1].likely(rows) if price.token else 0.0
        return _sum(target, price, rows, _paid_for(price, seconds), tokens)

    def likely(self, model: str, target: Target, rows: int) -> float:
        """What an ask of so many rows costs on average."""
        price = target.price
        if price is None:
            return target.cost * rows
        milliseconds, tokens = self._usual(model, target.variant)
        return _sum(target, price, rows, milliseconds.likely(rows), tokens.likely(rows))

    def lately(self, model: str, target: Target, rows: int) -> float:
        """What it costs if each row is as dear as the dearest of late."""
        price = target.price
        if price is None:
            return target.cost * rows
        milliseconds, tokens = self._usual(model, target.variant)
        return _sum(target, price, rows, milliseconds.most(rows), tokens.most(rows))

    def dearest(self, model: str, targets: Sequence[Target], rows: int) -> float:
        """What the dearest of them would have cost for such a question: the counterfactual of always asking it."""
        return max([self.likely(model, target, rows) for target in targets])

    def stage(self, model: str, plan: Plan, rows: int) -> float:
        """What the first stage costs if it is as dear as lately, with all who stand in for it: each may be asked in vain."""
        return sum([self.lately(model, each, rows) for each in _line(plan, plan.stages[0].target)])

    def _usual(self, model: str, variant: str) -> tuple[Usual, Usual]:
        key = (model, variant)
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = (Usual(), Usual())
        return found


def bound(plan: Plan, target: Target, rows: int, seconds: float) -> float:
    """What asking this target costs at most, whatever happens, with all who stand in for it one after the other; all of them
    together have so many seconds.
    """
    return _bound(_line(plan, target), rows, seconds)


def whole(plan: Plan, rows: int, seconds: float) -> float:
    """What the plan costs at most: every stage is asked about every row, in so many seconds. One after the other, unless a stage
    may be asked at the same time as the one before it.
    """
    lines = [_line(plan, stage.target) for stage in plan.stages] if plan.fallback else [[stage.target] for stage in plan.stages]
    if plan.speculate is None:
        return _bound([each for line in lines for each in line], rows, seconds)
    return sum([_bound(line, rows, seconds) for line in lines])


def _line(plan: Plan, target: Target) -> list[Target]:
    """It, and who stands in for it, in order."""
    line = [target]
    while plan.fallback and (instead := plan.fallback.get(line[-1].variant)) and instead not in line:
        line.append(instead)
    return line


def _bound(line: Sequence[Target], rows: int, seconds: float) -> float:
    """Of targets that are asked one after the other."""
    fixed = timed = dearest = 0.0
    for target in line:
        price = target.price
        fixed += target.cost * rows
        if price is not None:
            fixed += price.call + price.token * price.most_tokens * rows
            timed += price.gpu_ms * _paid_for(price, seconds if target.timeout is None else min(seconds, target.timeout))
            dearest = max(dearest, price.gpu_ms)
    return fixed + min(timed, dearest * seconds * 1000)


def _paid_for(price: Price, seconds: float) -> float:
    """Of an ask that took so long, the milliseconds that are paid for."""
    return seconds * 1000 if price.most_ms is None else min(seconds * 1000, price.most_ms)


def _sum(target: Target, price: Price, rows: int, milliseconds: float, tokens: float) -> float:
    paid = min(tokens, float(price.most_tokens * rows))
    return target.cost * rows + price.call + price.gpu_ms * milliseconds + price.token * paid
