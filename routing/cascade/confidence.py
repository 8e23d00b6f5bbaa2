"""How sure an answer is, row by row, read from one of its outputs: larger is surer, NaN and infinity are not sure at all.

Whatever is not what the policy says it is must not look like certainty. An output that is missing, or that has another shape, is
the backend's break, for no row of the answer could be judged; a row whose own values make no sense is a row that is not sure.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from backends.errors import ErrorKind, InferenceError
from backends.tensors import BYTES, Tensor, unpack_bytes
from routing.cascade.documents import numbers
from routing.plan import Confidence, Stage

Scores = npt.NDArray[np.float64]

ROUNDING = 0.01  # by which a probability in few bits may lie outside of 0 to 1
_NOT_SURE = -math.inf
_max, _min, _sum = np.maximum.reduce, np.minimum.reduce, np.add.reduce  # what the methods call, 1 µs later each


def confidences(confidence: Confidence, output: Tensor | None, rows: int) -> Scores:
    """One score for each of `rows` rows; minus infinity where there is none.

    max-softmax: the largest probability; margin: the largest less the second; entropy: 1 - H/ln k, so 1 is certain and 0 is
    uniform (k classes); of the last dimension each, and of several such in a row the least. output, json: the value itself.
    mean-logprob, min-logprob: of all tokens' log-probabilities. Raises BROKEN where the answer lacks the output, or it has
    another leading dimension, or elements of another kind.
    """
    if output is None:
        raise _misfit(confidence, "the answer does not have it")
    if not rows or output.rows != rows:
        raise _misfit(confidence, f"its shape is {list(output.shape)} for {rows} rows")
    if (output.datatype == BYTES) is (confidence.path is None) or output.datatype == "BF16":
        wanted = "numbers that can be compared with a threshold" if confidence.path is None else "JSON documents"
        raise _misfit(confidence, f"{output.datatype} are no {wanted}")
    if confidence.path is not None:
        return _told(confidence, confidence.path, output, rows)
    values = _values(confidence, output, rows)
    if confidence.logits:
        values = _softmax(values)
    scores = _SCORES[confidence.metric](values)
    low, high = _RANGES[confidence.metric]
    if not (values.item(values.argmin()) >= low and values.item(values.argmax()) <= high):  # not so for NaN
        scores = np.where(((values >= low) & (values <= high)).all(axis=-1), scores, _NOT_SURE)
    if scores.ndim > 1:
        scores = scores.reshape(rows, -1).min(axis=1)
    return scores.astype(np.float64, copy=False)


def sure(confidence: Confidence, stage: Stage, outputs: Mapping[str, Tensor], rows: int) -> Scores:
    """What is held against the stage's `accept`: the confidences, calibrated where it says so. Raises as `confidences`."""
    raw = confidences(confidence, outputs.get(confidence.output), rows)
    if stage.calibration is None:
        return raw
    if not stage.label and confidence.metric in CLASSES:
        array = outputs[confidence.output].array()
        if array.ndim == 2:
            return stage.calibration.apply_places(raw, array.argmax(axis=1), array.shape[1])
    return stage.calibration.apply(raw, predicted(confidence, stage.label, outputs, rows))


def predicted(confidence: Confidence, label: str, outputs: Mapping[str, Tensor], rows: int) -> Sequence[str]:
    """The label of each row, as maps name them: of the output `label`, or else the place of the largest value.

    All are "" where neither is known. Raises BROKEN where there is not one label a row.
    """
    if not label:
        if confidence.metric not in CLASSES:
            return ("",) * rows
        array = outputs[confidence.output].array()
        if array.ndim != 2:
            raise _misfit(confidence, f"no label in a row of shape {list(array.shape[1:])}: name the output that tells it")
        return list(map(str, array.argmax(axis=1).tolist()))
    found = outputs.get(label)
    if found is not None and found.datatype == BYTES:
        told = [text.decode("utf-8", "replace") for text in unpack_bytes(found.data, label)]
    elif found is not None and found.datatype in WHOLE:
        told = list(map(str, found.array().ravel().tolist()))
    else:
        told = []
    if len(told) != rows:
        what = f"no label in output '{label}': it must tell one for each of {rows} rows, in text or as a whole number"
        raise InferenceError(ErrorKind.BROKEN, what, reason="confidence")
    return told


def _values(confidence: Confidence, output: Tensor, rows: int) -> Scores:
    """The numbers, with the dimension of which there is one score last."""
    array = output.array()
    if array.ndim != 2 and (array.ndim < 2 or confidence.metric not in CLASSES):
        array = array.reshape(rows, -1)
    exact = confidence.metric == "max-softmax" and not confidence.logits and array.dtype.kind == "f"
    values = array if exact else array.astype(np.float64, copy=False)
    if values.size == 0 or (confidence.logits and values.shape[-1] < 2):
        raise _misfit(confidence, f"its shape is {list(output.shape)}, which is too little to judge by")
    return values


def _told(confidence: Confidence, path: tuple[str, ...], output: Tensor, rows: int) -> Scores:
    """By the documents of each row; several in a row are taken together."""
    texts = unpack_bytes(output.data, output.name)
    each, (low, high) = len(texts) // rows, _RANGES[confidence.metric]
    if not each:
        raise _misfit(confidence, f"its shape is {list(output.shape)}: there is no document for a row")
    scores = np.full(rows, _NOT_SURE)
    for row in range(rows):
        values = [value for text in texts[row * each : (row + 1) * each] for value in numbers(text, path)]
        if all(low <= value <= high for value in values):  # not so for NaN
            scores[row] = _SCORES[confidence.metric](np.array([values]))[0]
    return scores


def _softmax(logits: Scores) -> Scores:
    """Less the largest, so that no power is too large. Minus infinity is a class that cannot be; plus infinity makes NaN."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - _max(logits, axis=-1, keepdims=True))
        return np.asarray(powers / _sum(powers, axis=-1, keepdims=True))


def _largest(values: Scores) -> Scores:
    if values.ndim == 2:  # half as long as reducing rows that are as short as classes are few
        found: Scores = values.take(_begins(*values.shape) + values.argmax(axis=1))
        return found
    return np.asarray(_max(values, -1))


@lru_cache(maxsize=64)
def _begins(rows: int, each: int) -> npt.NDArray[np.intp]:
    """Where each row begins, of so many values in a row."""
    return np.arange(0, rows * each, each)


def _margin(values: Scores) -> Scores:
    if values.shape[-1] < 2:
        return np.asarray(values[..., 0])
    top = np.partition(values, -2, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(top[..., -1] - top[..., -2])


def _entropy(values: Scores) -> Scores:
    filled = np.maximum(values, sys.float_info.min)  # p ln p is 0 at p = 0
    return np.asarray(1.0 + _sum(filled * np.log(filled), -1) / math.log(max(2, values.shape[-1])))


def _least(values: Scores) -> Scores:
    return np.asarray(_min(values, -1))


def _mean(values: Scores) -> Scores:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(_sum(values, -1) / values.shape[-1])


_SCORES: Mapping[str, Callable[[Scores], Scores]] = {
    "max-softmax": _largest,
    "margin": _margin,
    "entropy": _entropy,
    "output": _least,
    "json": _least,
    "mean-logprob": _mean,
    "min-logprob": _least,
}
METRICS = tuple(_SCORES)
CLASSES = frozenset({"max-softmax", "margin", "entropy"})  # of the probabilities of classes
LOGPROBS = frozenset({"mean-logprob", "min-logprob"})
WHOLE = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})  # datatypes of a label
# Outside of these nothing is a probability or the logarithm of one, whatever it is: logits, for example, of a policy that does
# not say so, would all look certain.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(CLASSES, (-ROUNDING, 1 + ROUNDING)),
    **dict.fromkeys(LOGPROBS, (-sys.float_info.max, ROUNDING)),
    **dict.fromkeys(("output", "json"), (-sys.float_info.max, sys.float_info.max)),
}


def _misfit(confidence: Confidence, why: str) -> InferenceError:
    return InferenceError(ErrorKind.BROKEN, f"no confidence in output '{confidence.output}': {why}", reason="confidence")
