"""The state of one cascade: which rows are answered by whom, and which are still unsure. Told answers, it says who goes up.

    asking(all rows, stage 0) --answer--> some unsure --> asking(unsure rows, stage 1) --answer--> …
                                     \\--> none unsure --> settled
    asking(rows, stage n > 0) --failure--> settled with the best there is

Rows that were sure keep the tensors of their first answer bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import InferenceRequest, RequestedOutput, Tensors, TensorSpec
from backends.tensors import Tensor, scatter, take
from routing.cascade.confidence import Scores, confidences
from routing.plan import Confidence, Plan


class Escalation:
    """One request's way up a cascade. `rows` is None where rows mean nothing: then all of it goes up or stays."""

    def __init__(self, plan: Plan, rows: int | None) -> None:
        assert plan.confidence is not None
        self._plan = plan
        self._confidence: Confidence = plan.confidence
        self._whole = rows is None or rows == 0
        self._owner = [0] * (rows or 1)  # the stage whose answer each row has
        self._outputs: dict[str, Tensor] = {}
        self.unsure: list[int] = list(range(len(self._owner)))
        self.scores: dict[int, Scores] = {}  # by stage: how sure it was of each row it was asked about; of the whole, one

    def answered(self, stage: int, outputs: Sequence[Tensor]) -> None:
        """Takes a stage's answer for the rows that were unsure, and finds those that still are."""
        asked, accept = self.unsure, self._plan.stages[stage].accept
        unsure = [] if accept is None else self._below(stage, accept, outputs)  # may refuse the answer: nothing has changed yet
        if stage == 0 or self._whole:
            self._outputs = {tensor.name: tensor for tensor in outputs}
        else:
            self._merge(asked, outputs)
        for row in asked:
            self._owner[row] = stage
        self.unsure = unsure

    def _below(self, stage: int, accept: float, outputs: Sequence[Tensor]) -> list[int]:
        named = next((tensor for tensor in outputs if tensor.name == self._confidence.output), None)
        asked = self.unsure
        if self._whole:
            count = named.rows if named is not None else 0
            scores = np.full(1, np.inf) if count == 0 else confidences(self._confidence, named, count or 0).min(keepdims=True)
        else:
            scores = confidences(self._confidence, named, len(asked))
        self.scores[stage] = scores
        return [asked[index] for index in np.flatnonzero(scores < accept)]

    def _merge(self, rows: list[int], outputs: Sequence[Tensor]) -> None:
        try:
            merged = {tensor.name: scatter(self._outputs[tensor.name], rows, tensor) for tensor in outputs}
        except (KeyError, ValueError) as error:
            raise InferenceError(
                ErrorKind.BROKEN, f"the stages of route '{self._plan.route}' do not answer alike: {error}", reason="signature"
            ) from error
        self._outputs.update(merged)

    def outputs(self, keep: frozenset[str]) -> tuple[Tensor, ...]:
        """The merged answer, less outputs that only the cascade wanted; an empty `keep` keeps all."""
        return tuple(tensor for name, tensor in self._outputs.items() if not keep or name in keep)

    def shares(self) -> list[tuple[int, int]]:
        """(stage, rows answered by it), in stage order."""
        return sorted(Counter(self._owner).items())

    def owners(self) -> tuple[int, ...]:
        """The stage that each row's answer is from."""
        return tuple(self._owner)


def questions(request: InferenceRequest, confidence: Confidence) -> tuple[InferenceRequest, tuple[Tensor, ...]]:
    """The request as the first stage gets it (decoded, with the confidence's output asked for), and its tensors."""
    outputs = request.outputs
    if any(output.name == confidence.output and "classification" in output.parameters for output in outputs):
        raise invalid(
            f"output '{confidence.output}' decides who answers on this route: ask for it without 'classification'",
            "classification",
        )
    tensors = request.payload.tensors()
    if outputs and all(output.name != confidence.output for output in outputs):
        outputs = (*outputs, RequestedOutput(confidence.output))
    return replace(request, outputs=outputs, payload=Tensors(tensors)), tensors


def part(request: InferenceRequest, tensors: Sequence[Tensor], rows: Sequence[int]) -> InferenceRequest:
    """The question about some of its rows only."""
    subset = tuple(take(tensor, rows) for tensor in tensors)
    specs = tuple(TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in subset)
    return replace(request, inputs=specs, payload=Tensors(subset))
