"""Of a question that two variants have answered: what each predicted, and how sure it was, row by row; nothing of what was asked.

Thresholds of a cascade are calibrated on such pairs: the dearer variant's answer is taken for the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.tensors import Tensor
from routing.cascade.confidence import Scores, confidences, predicted
from routing.plan import Confidence
from routing.shadow.shadows import Record

MOST_ROWS = 256  # of one question; the first ones


class Side(msgspec.Struct, frozen=True):
    """What one variant said of each row: a label, and a raw score (minus infinity: not sure)."""

    variant: str
    version: str
    labels: Sequence[str]
    scores: Scores


class Pair(msgspec.Struct, frozen=True):
    """One question. `time` in seconds since 1970."""

    model: str
    shadow: str
    request: str
    time: float
    sides: tuple[Side, Side]  # the primary's, the candidate's


def side(record: Record, who: tuple[str, str], outputs: Sequence[Tensor], rows: int) -> Side:
    """What is recorded of an answer about `rows` rows by `who`, a variant in a version.

    Raises InferenceError where the answer does not have what the record asks for.
    """
    confidence = Confidence(record.output, record.metric, record.logits, record.path)
    known = {tensor.name: tensor for tensor in outputs}
    scores = confidences(confidence, known.get(record.output), rows)
    labels = predicted(confidence, record.label, known, rows)
    return Side(*who, labels[:MOST_ROWS], scores[:MOST_ROWS])
