"""The digits that no model was trained on, what each model says of them offline, and so what the gateway must answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.demo.expect import StartError

Rows = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """`images` float32 [n, 64], `labels` int64 [n], `probabilities` float32 [n, 10] by model and version (`digits_fast_1`)."""

    images: Rows
    labels: Rows
    probabilities: Mapping[str, Rows]

    def of(self, model: str, version: str = "") -> Rows:
        """One model version's own probabilities; the newest version where none is named, as Triton chooses."""
        names = sorted(
            name for name in self.probabilities if name == f"{model}_{version}" or (not version and name[:-2] == model)
        )
        if not names:
            known = ", ".join(sorted(self.probabilities))
            raise StartError(f"the policy names the model '{model}' version '{version}', and there are {known}")
        return self.probabilities[names[-1]]

    def accuracy(self, answered: Rows) -> float:
        """The share of rows whose answered label, int64 [n], is the right one."""
        return float((answered == self.labels).mean())


@dataclass(frozen=True, slots=True)
class Cascade:
    """What a cascade does with rows: `stage` int [n] says who keeps each, `probabilities` are the answers, `cost` is the sum."""

    stage: Rows
    probabilities: Rows
    cost: float


def cascade(stages: Sequence[Rows], accept: Sequence[float], costs: Sequence[float]) -> Cascade:
    """Sends rows through the stages (probabilities float32 [n, 10], cheapest first): one stays where its largest is ≥ accept."""
    kept_by = np.full(len(stages[0]), len(stages) - 1)
    answers = stages[-1].copy()
    undecided = np.ones(len(answers), dtype=bool)
    cost = 0.0
    for number, (probabilities, threshold, price) in enumerate(zip(stages, (*accept, 0.0), costs, strict=True)):
        cost += price * float(undecided.sum())
        kept = undecided & (probabilities.max(axis=1).astype(np.float64) >= threshold)
        kept_by[kept], answers[kept] = number, probabilities[kept]
        undecided &= ~kept
    return Cascade(kept_by, answers, cost)


def load(file: Path) -> HeldOut:
    """Reads what training wrote. Raises StartError when it is not there."""
    try:
        with np.load(file) as found:
            arrays = {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise StartError("the example models are not built yet: run `make demo`, or `python3 serving-image/install.py`") from None
    return HeldOut(arrays.pop("images"), arrays.pop("labels"), arrays)
