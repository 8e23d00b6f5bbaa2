"""How sure an answer is, row by row, read from one of its outputs: larger is surer, NaN and infinity are not sure at all."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from backends.errors import ErrorKind, InferenceError
from backends.tensors import BYTES, Tensor
from routing.plan import Confidence

Scores = npt.NDArray[np.float64]


def confidences(confidence: Confidence, output: Tensor | None, rows: int) -> Scores:
    """One score for each of `rows` rows.

    max-softmax: the largest probability; margin: the largest less the second; entropy: 1 - H/ln k, so 1 is certain and 0 is
    uniform (k classes); output: the value itself. Probabilities are taken as they are. Raises BROKEN where the answer lacks the
    output, or it has another leading dimension, or is text: a policy that names the wrong output must not look like certainty.
    """
    if output is None:
        raise _misfit(confidence, "the answer does not have it")
    if output.datatype in (BYTES, "BF16"):
        raise _misfit(confidence, f"{output.datatype} cannot be compared with a threshold")
    if output.rows != rows or not rows:
        raise _misfit(confidence, f"its shape is {list(output.shape)} for {rows} rows")
    values = output.array().reshape(rows, -1).astype(np.float64, copy=False)
    scores = _SCORES[confidence.metric](values)
    return np.where(np.isfinite(scores), scores, -math.inf)


def _margin(values: Scores) -> Scores:
    if values.shape[1] < 2:
        return np.asarray(values[:, 0])
    top = np.partition(values, -2, axis=1)
    return np.asarray(top[:, -1] - top[:, -2])


def _entropy(values: Scores) -> Scores:
    filled = np.where(values == 0, 1.0, values)  # p ln p is 0 at p = 0; a negative "probability" becomes NaN
    with np.errstate(invalid="ignore"):
        spread = -(filled * np.log(filled)).sum(axis=1)
    return np.asarray(1.0 - spread / math.log(max(2, values.shape[1])))


def _single(values: Scores) -> Scores:
    return np.asarray(values.min(axis=1))


_SCORES = {
    "max-softmax": lambda values: np.asarray(values.max(axis=1)),
    "margin": _margin,
    "entropy": _entropy,
    "output": _single,
}
METRICS = tuple(_SCORES)


def _misfit(confidence: Confidence, why: str) -> InferenceError:
    return InferenceError(ErrorKind.BROKEN, f"no confidence in output '{confidence.output}': {why}", reason="confidence")
