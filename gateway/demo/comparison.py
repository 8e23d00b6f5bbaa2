"""Every held-out digit through each single model and through the cascade: accuracy, cost, who answered, how long it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gateway.demo.client import Reply
from gateway.demo.expect import equal, true
from gateway.demo.heldout import Cascade, Rows, cascade
from gateway.demo.policy import ALWAYS, MODEL
from gateway.demo.setting import Setting

CLIENTS = 8
CASCADE = "cascade"


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the comparison. Shares from 0 to 1, cost in the policy's unit, times in seconds; `rows` by variant."""

    name: str
    accuracy: float
    cost_per_1000: float
    rows: Mapping[str, int]
    p50: float
    p99: float


def offline_cascade(setting: Setting) -> Cascade:
    """What the policy's cascade must do with the held-out rows, from each model's own answers."""
    stages = setting.policy.stages()
    answers = [setting.offline(variant) for variant, _ in stages]
    accept = [threshold for _, threshold in stages[:-1]]
    return cascade(answers, accept, [setting.policy.cost(variant) for variant, _ in stages])


def alone(setting: Setting, variant: str) -> Measured:
    """The variant asked every time."""
    rows = len(setting.held_out.labels)
    answers = setting.offline(variant)
    expected = Cascade(np.zeros(rows, dtype=int), answers, setting.policy.cost(variant) * rows)
    return _measure(setting, f"always {variant}", ALWAYS + variant, expected, [variant])


def together(setting: Setting) -> Measured:
    """The policy's cascade."""
    return _measure(setting, CASCADE, MODEL, offline_cascade(setting), [variant for variant, _ in setting.policy.stages()])


def _measure(setting: Setting, name: str, model: str, expected: Cascade, variants: list[str]) -> Measured:
    count = len(setting.held_out.labels)
    questions = [setting.digits(slice(row, row + 1), model) for row in range(count)]
    replies = setting.at_once(questions, CLIENTS)
    failed = [f"{reply.status} {reply.error}" for reply in replies if reply.status != 200]
    equal(f"{name}: requests that failed", [], failed[:3])
    labels = np.array([reply.labels[0] for reply in replies])
    equal(f"{name}: rows by variant", _counted(expected, variants), dict(Counter(reply.variant for reply in replies)))
    wrong = np.flatnonzero(labels != expected.probabilities.argmax(axis=1)).tolist()
    equal(f"{name}: rows whose label is not the one computed offline", [], wrong)
    total = sum(reply.cost for reply in replies)
    true(f"{name}: a cost of {expected.cost:g}", abs(total - expected.cost) < 1e-6 * expected.cost + 1e-6, f"{total:g}")
    p50, p99 = _percentiles(replies)
    rows = Counter(reply.variant for reply in replies)
    return Measured(name, setting.held_out.accuracy(labels), total / count * 1000, rows, p50, p99)


def _counted(expected: Cascade, variants: list[str]) -> dict[str, int]:
    stages: Rows = expected.stage
    return {variants[stage]: int((stages == stage).sum()) for stage in np.unique(stages)}


def _percentiles(replies: list[Reply]) -> tuple[float, float]:
    p50, p99 = np.percentile([reply.seconds for reply in replies], (50, 99))
    return float(p50), float(p99)


def conclusion(setting: Setting, lines: list[Measured]) -> str:
    """The cascade against its last model alone. Raises WrongError unless it is cheaper."""
    of_cascade = lines[-1]
    dearest = max(lines[:-1], key=lambda line: line.cost_per_1000)
    true(f"the cascade cheaper than {dearest.name}", of_cascade.cost_per_1000 < dearest.cost_per_1000, of_cascade.cost_per_1000)
    saved = 1 - of_cascade.cost_per_1000 / dearest.cost_per_1000
    points = (dearest.accuracy - of_cascade.accuracy) * 100
    lost = f"{points:.1f} points of accuracy less" if points > 0 else "no less accuracy"
    return f"The cascade costs {saved:.0%} less than {dearest.name}, for {lost}: exactly as computed offline."
