"""What a request of a model under a rollout costs beyond one of a model without: `python -m loadtest.rollout`.

CPU time of this process, with and without by turns: the draw when it is planned, the layer, four guards' counts. No sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median

from msgspec.structs import replace

from backends.deadline import Deadline
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from policies.call import NO_DRAWS, Answer, Call
from policies.rollout import Lane, Rolled, RolloutPolicy
from routing.match import Question
from routing.plan import Plan, Stage, Target
from routing.principal import Principal
from routing.rollout.betting import POINTS, Metric
from routing.rollout.feedback import Feedback
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Step, Terms

REQUESTS, ROUNDS = 5_000, 21
LIVE, NEXT = Target("live", "b", "live"), Target("next", "b", "next")
METRICS = (Metric("error-rate"), Metric("latency", "latency"), Metric("latency-p99"), Metric("timeout-rate"))
MEASURES = (Measure("error"), Measure("latency", 1.1), Measure("latency", 1.2, POINTS.index(0.99) + 1), Measure("timeout"))
ANSWER = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (), 0.0, 0.001)
REQUEST = InferenceRequest("m", "", "", {}, (), (), Tensors(()))


async def _below(call: Call) -> Answer:
    return ANSWER


class Bench:
    """One model with and without a rollout at 5 %."""

    def __init__(self, unit: str, feedback: bool = False) -> None:
        terms = Terms((Step(0.05, 60.0),), METRICS, sticky=unit != "request")
        told = (Feedback("bought"),) if feedback else ()
        self.lane = Lane(Rolling("live", LIVE, NEXT, unit, terms, MEASURES, "d", feedback=told))
        self.lane.follow("m/live/next/1", 0.05, watching=True)
        for number in range(1, 1000):
            self.lane.points.add(number / 1000)
        self.lane.take()
        self.plain = Plan("r", (Stage(LIVE),), 1.0)
        swapped = Plan("r", (Stage(NEXT),), 1.0, swapped=("next",))
        self.rolled = Rolled([lambda _: self.plain, lambda _: swapped], [self.lane])
        self.policy = RolloutPolicy(time.monotonic)

    async def once(self, questions: Sequence[Question], under: bool) -> float:
        """Microseconds for one request."""
        call = Call("m", REQUEST, questions[0].principal, self.plain, Deadline(1e12))
        began = time.process_time()
        for question in questions:
            plan, drawn = self.rolled.plan(question) if under else (self.plain, NO_DRAWS)
            asked = replace(call, plan=plan, drawn=drawn, target=plan.stages[0].target)
            await (self.policy(asked, _below) if under else _below(asked))
        return (time.process_time() - began) / len(questions) * 1e6

    async def more(self) -> float:
        """The median difference over all rounds."""
        whose = [Principal("s", f"t{number % 500}", "free", frozenset()) for number in range(REQUESTS)]
        found = []
        for turn in range(ROUNDS):
            questions = [Question(who, {}, 1, {}, "", f"{turn}-{number}") for number, who in enumerate(whose)]
            plain = await self.once(questions, under=False)
            found.append(await self.once(questions, under=True) - plain)
            self.lane.take()
            self.lane.noted.clear()
        return median(found)


if __name__ == "__main__":
    for unit in ("request", "tenant"):
        print(f"{unit}: {asyncio.run(Bench(unit).more()):.2f} µs, {asyncio.run(Bench(unit, True).more()):.2f} with feedback")
