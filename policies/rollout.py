"""Draws each request's side of a rollout when it is planned, and counts what became of it where that side is asked.

    planned --side drawn--> (answered from a cache, or no stage came so far: nothing is counted)
       └──> asked, once --answer, error, or its client left--> counted for the side first drawn

The draw is made before anything is known of the answer; who stands in for a side that failed, and what is asked again, belongs to
the side that was drawn. A model without rollouts has none of this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from random import random

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse
from policies.call import Answer, Ask, Call, StreamAsk
from policies.call import Draw as Drawn
from routing.match import Question
from routing.plan import Plan, Target
from routing.planner import Planner, reading
from routing.principal import Principal
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.rolling import Ended, Outcome, Reader, Rolling
from routing.rollout.tally import Batch, Tally
from routing.rollout.units import Excluded, Holdout, holding, placing, remembered

OK: Outcome = "ok"
FAILED: Outcome = "error"
BROKEN: Outcome = "broken"
LATE: Outcome = "late"
LEFT: Outcome = "left"
DISAGREEMENT = "disagreement"
MIRRORED = 0.5  # the chance with which the candidate's answer is the one of two that is looked at
MOST_NOTED = 50_000  # of a rollout in half a second
SHORTEST = 1e-6  # seconds: what a clock that stood still says


class Lane:
    """One rollout in one process. `follow` sets what it does; `share` is the candidate's, from 0 to 1; `watching` whether sides
    are drawn and told apart: before there is any share only to learn how slow the stable side is."""

    def __init__(self, rolling: Rolling, chance: Callable[[], float] = random) -> None:
        self.rolling = rolling
        self._chance = chance
        self.sides = rolling.stable, rolling.candidate.variant
        self.cells = Reader(rolling.measures)
        self.share = 0.0
        self.watching = False
        self.attempt = ""
        self.points = LatencyPoints()
        self.tally = Tally(rolling.terms.metrics, rolling.terms.sticky)
        self.noted: list[tuple[str, Principal, float, float]] = []  # requests of which clients may tell something
        self.lost = 0  # for which there was no room
        self._place: Callable[[str], float | None] = placing("", Excluded())
        self._unit = reading(rolling.unit)

    def follow(self, attempt: str, share: float, watching: bool) -> None:
        """From now on. Another `attempt` draws anew, and counts from nothing."""
        if attempt != self.attempt:
            self.attempt = attempt
            self.tally = Tally(self.rolling.terms.metrics, self.rolling.terms.sticky)
            place = placing(attempt, self.rolling.excluded)
            self._place = remembered(place) if self.rolling.terms.sticky else place
            self.noted = []
        self.share, self.watching = share, watching

    def draw(self, question: Question) -> Draw | None:
        """The question's side; None for who takes no part."""
        place = self._place(self._unit(question)) if self.share else 1.0
        return None if place is None else Draw(self, place, question if self.rolling.feedback else None)

    def note(self, question: Question, place: float, share: float) -> None:
        """A request was counted of which clients may tell something."""
        if len(self.noted) < MOST_NOTED:
            self.noted.append((question.request_id, question.principal, place, share))
        else:
            self.lost += 1

    def held(self, candidate: bool, again: bool) -> None:
        """Of one mirrored question, whether the candidate's answer and the stable side's second differ from its first.

        One of them is looked at, by a coin; so the guard reads what it reads of requests that were drawn with a weight of a half.
        """
        for index, metric in enumerate(self.rolling.terms.metrics):
            if metric.name == DISAGREEMENT and 0 < self.share < 1:
                drawn = self._chance() < MIRRORED
                self.tally.beside(index, int(candidate if drawn else again), MIRRORED, drawn)

    def take(self) -> Batch:
        """What was counted since the last time; the points are renewed."""
        self.points.renew()
        return self.tally.take()


class Draw:
    """One request's side of one rollout."""

    __slots__ = ("_lane", "_place", "_question", "_share", "_tally", "asked", "candidate", "side")

    def __init__(self, lane: Lane, place: float, question: Question | None = None) -> None:
        self._lane, self._tally, self._question = lane, lane.tally, question
        self._place, self._share = place, lane.share
        self.candidate = place < lane.share
        self.side = lane.sides[self.candidate]
        self.asked = False

    @property
    def open(self) -> bool:
        """While both sides have a share."""
        return 0 < self._share < 1

    def meets(self, target: Target, plan: Plan) -> bool:
        """Whether the side is asked here, for the first time. A candidate that a route names itself was not drawn."""
        return not self.asked and target.variant == self.side and (not self.candidate or self.side in plan.swapped)

    def begin(self) -> None:
        """It is asked."""
        self.asked = True
        if self._share:
            self._tally.drew(self._place, self._share)
            if self._question is not None:
                self._lane.note(self._question, self._place, self._share)

    def end(self, ended: Ended) -> None:
        """It has come to this."""
        lane = self._lane
        if self._share:
            self._tally.saw(self._place, self._share, lane.cells(lane.points, ended, self.candidate))
        if not self.candidate and ended.outcome == "ok":
            lane.points.add(ended.seconds)


class Rolled:
    """One model's planner where rollouts may swap variants. `plans` by the set of candidates: bit n is of lane n."""

    def __init__(self, plans: Sequence[Planner], lanes: Sequence[Lane], holdout: Holdout | None = None) -> None:
        self._plans = plans
        self._lanes = tuple(lanes)
        self._held = None if holdout is None else _held(holdout)

    def plan(self, question: Question) -> tuple[Plan, tuple[Draw, ...]]:
        """The plan, and the draws that made it. Who insists on a version or is held out gets what is stable, uncounted."""
        if question.version or (self._held is not None and self._held(question)):
            return self._plans[0](question), ()
        chosen, draws, bit = 0, [], 1
        for lane in self._lanes:
            if lane.watching and (draw := lane.draw(question)) is not None:
                draws.append(draw)
                if draw.candidate:
                    chosen |= bit
            elif lane.share >= 1 and not lane.watching:
                chosen |= bit
            bit <<= 1
        return self._plans[chosen](question), tuple(draws)


class RolloutPolicy:
    """Innermost, below whoever stands in: what the variant itself did is what counts, also where a fallback saved the answer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer from below, untouched."""
        draw = _met(call)
        return ask(call) if draw is None else self._counted(draw, call, ask)

    async def _counted(self, draw: Drawn, call: Call, ask: Ask) -> Answer:
        draw.begin()
        start, outcome, response = self._clock(), LEFT, None
        try:
            answer = await ask(call)
            outcome, response = OK, answer.response
            return answer
        except InferenceError as error:
            outcome = _failed(error)
            raise
        finally:
            draw.end(_ended(outcome, call, start, self._clock(), response))

    def over(self, stream: StreamAsk) -> StreamAsk:
        """The same for streams, each of which counts as one request that takes until its first answer."""

        def counted(call: Call) -> AsyncGenerator[Answer, None]:
            draw = _met(call) if call.drawn else None
            return stream(call) if draw is None else self._streamed(draw, call, stream)

        return counted

    async def _streamed(self, draw: Drawn, call: Call, stream: StreamAsk) -> AsyncGenerator[Answer, None]:
        draw.begin()
        start, outcome, first = self._clock(), LEFT, 0.0
        try:
            async with aclosing(stream(call)) as answers:
                async for answer in answers:
                    outcome, first = OK, first or self._clock()
                    yield answer
        except InferenceError as error:
            outcome = _failed(error)
            raise
        finally:
            draw.end(_ended(outcome, call, start, first or self._clock()))


def _held(holdout: Holdout) -> Callable[[Question], bool]:
    unit, held = reading(holdout.unit), holding(holdout)
    return lambda question: held(unit(question))


def _failed(error: InferenceError) -> Outcome:
    if error.kind is ErrorKind.DEADLINE:
        return LATE
    return BROKEN if error.reason == "bad-answer" else FAILED


def _ended(outcome: Outcome, call: Call, start: float, end: float, response: InferenceResponse | None = None) -> Ended:
    """A client that leaves counts with the time it had waited, and as too late where its deadline made it leave."""
    if outcome == LEFT and end >= call.deadline.at:
        outcome = LATE
    return Ended(outcome, end - start if end > start else SHORTEST, response)


def _met(call: Call) -> Drawn | None:
    assert call.target is not None, "a layer above chooses the target"
    for draw in call.drawn:
        if draw.meets(call.target, call.plan):
            return draw
    return None
