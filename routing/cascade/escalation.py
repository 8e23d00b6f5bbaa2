"""The state of one cascade: which rows are answered by whom, and which are still unsure. Told answers, it says who goes up.

    asking(all rows, stage 0) --answer--> some unsure --> asking(unsure rows, stage 1) --answer--> …
                                     \\--> none unsure --> settled
    asking(rows, stage n > 0) --failure--> settled with the best there is

Rows that were sure keep the tensors of their first answer bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import InferenceRequest, RequestedOutput, Tensors, TensorSpec
from backends.protocols.v2_http_request import HttpQuestion
from backends.tensors import Tensor, scatter, take
from routing.cascade.confidence import Scores, sure
from routing.plan import Confidence, Plan, Stage

Places = npt.NDArray[np.intp]
"""Rows of the request, rising."""


class Escalation:
    """One request's way up a cascade. `rows` is None where rows mean nothing: then all of it goes up or stays, as it does where
    one of the stages, or who stands in for it, answers a row otherwise beside other rows."""

    __slots__ = ("_asked", "_confidence", "_outputs", "_plan", "rows", "scores", "unsure", "whole")

    def __init__(self, plan: Plan, rows: int | None) -> None:
        assert plan.confidence is not None
        self._plan = plan
        self._confidence: Confidence = plan.confidence
        self.whole = not rows or not plan.row_independent
        self.rows = rows or 1
        self._asked: dict[int, Places] = {}  # by stage that answered, the rows that have its answer unless they went up
        self._outputs: dict[str, Tensor] = {}
        self.unsure: Places = _everybody(self.rows)
        self.scores: dict[int, Scores] = {}  # by stage: how sure it was of each row it was asked about; of the whole, one

    def answered(self, stage: int, outputs: Sequence[Tensor], about: Places | None = None) -> None:
        """Takes a stage's answer for the rows that were unsure, and finds those that still are.

        `about`: the rows that it was asked about, if they are more than these. Raises BROKEN for an answer that cannot be used:
        then nothing has changed.
        """
        asked, step = self.unsure, self._plan.stages[stage]
        if about is not None and len(about) != len(asked):
            outputs = self._of(outputs, about)
        found = {tensor.name: tensor for tensor in outputs}
        unsure = _NOBODY if step.accept is None else self._below(step, stage, found)
        if len(asked) < self.rows:
            found = self._merged(asked, found)  # else nothing of another stage's is left
        self._outputs = found
        self._asked[stage] = asked
        self.unsure = unsure

    @property
    def begun(self) -> bool:
        """Whether there is an answer."""
        return bool(self._asked)

    def _of(self, outputs: Sequence[Tensor], about: Places) -> list[Tensor]:
        """The rows that are unsure, of an answer about more."""
        if any(tensor.rows != len(about) for tensor in outputs):
            raise self._unlike(f"of {len(about)} rows some cannot be taken")
        rows = np.searchsorted(about, self.unsure)
        return [take(tensor, rows) for tensor in outputs]

    def _below(self, step: Stage, stage: int, outputs: Mapping[str, Tensor]) -> Places:
        assert step.accept is not None
        asked = self.unsure
        if not self.whole:
            scores = self.scores[stage] = sure(self._confidence, step, outputs, len(asked))
            below = (scores < step.accept).nonzero()[0]
            return below if len(asked) == self.rows else asked[below]
        named = outputs.get(self._confidence.output)
        count = 1 if named is None or named.rows is None else named.rows
        scores = sure(self._confidence, step, outputs, count).min(keepdims=True) if count else _CERTAIN
        self.scores[stage] = scores
        return asked if scores[0] < step.accept else _NOBODY

    def _merged(self, rows: Places, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both answers as one. What only the cascade reads is left out where some row has none."""
        if found.keys() != self._outputs.keys():
            read = {self._confidence.output, *(stage.label for stage in self._plan.stages)}
            if others := (found.keys() ^ self._outputs.keys()) - read:
                raise self._unlike(f"not all of them have output {', '.join(sorted(others))}")
        try:
            return {name: scatter(before, rows, found[name]) for name, before in self._outputs.items() if name in found}
        except ValueError as error:
            raise self._unlike(str(error)) from error

    def _unlike(self, why: str) -> InferenceError:
        message = f"the stages of route '{self._plan.route}' do not answer alike: {why}"
        return InferenceError(ErrorKind.BROKEN, message, reason="signature")

    def outputs(self, keep: Collection[str]) -> tuple[Tensor, ...]:
        """The merged answer, less outputs that only the cascade wanted; an empty `keep` keeps all."""
        return tuple([each for name, each in self._outputs.items() if name in keep] if keep else self._outputs.values())

    def shares(self) -> list[tuple[int, int]]:
        """(stage, rows answered by it), in stage order."""
        found, up = [], 0
        for stage, asked in reversed(self._asked.items()):
            if len(asked) > up:
                found.append((stage, len(asked) - up))
            up = len(asked)
        return found[::-1]

    def owners(self) -> tuple[int, ...]:
        """The stage that each row's answer is from."""
        owner = np.zeros(self.rows, np.intp)
        for stage, rows in self._asked.items():
            owner[rows] = stage
        return tuple(owner.tolist())


@lru_cache(maxsize=64)
def _everybody(rows: int) -> Places:
    """Shared: nobody changes it."""
    return np.arange(rows)


_NOBODY: Places = np.empty(0, np.intp)
_CERTAIN: Scores = np.full(1, np.inf)  # of no rows at all


def question(request: InferenceRequest, plan: Plan, stage: int, rows: Places | None = None) -> InferenceRequest:
    """The request as a stage gets it: with what its confidence is read from asked for, and answered in binary.

    `rows`: about these only.

    Raises INVALID where the client wants that output as text of its top classes, and what reading its tensors raises.
    """
    outputs = request.outputs
    step, confidence = plan.stages[stage], plan.confidence
    if outputs and step.accept is not None and confidence is not None:
        names = {output.name: output for output in outputs}
        for wanted in (confidence.output, step.label):
            if wanted and wanted not in names:
                outputs = (*outputs, RequestedOutput(wanted))
            elif wanted and "classification" in names[wanted].parameters:
                text = f"output '{wanted}' decides who answers on this route: ask for it without 'classification'"
                raise invalid(text, "classification")
    if rows is not None:
        asked = part(request, rows)
        return asked if outputs is request.outputs else replace(asked, outputs=outputs)
    payload = request.payload
    if outputs is request.outputs and (not isinstance(payload, HttpQuestion) or _binary(request)):
        return request
    return replace(request, outputs=outputs, payload=Tensors(payload.tensors()))


def _binary(request: InferenceRequest) -> bool:
    """Whether the answer comes in binary though nobody asks for it here: JSON has no NaN, which is an unsure row."""
    always = request.parameters.get("binary_data_output") is True
    asked = request.outputs
    return all(output.parameters.get("binary_data", always) is True for output in asked) if asked else always


def part(request: InferenceRequest, rows: Places) -> InferenceRequest:
    """The question about some of its rows only."""
    subset = tuple([take(tensor, rows) for tensor in request.payload.tensors()])
    specs = tuple([TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in subset])
    return replace(request, inputs=specs, payload=Tensors(subset))
