"""Looks into an answer for what a guard watches there: can it be read, and does the model itself say that something is wrong?"""

from __future__ import annotations

from backends.errors import InferenceError
from backends.inference import InferenceResponse
from backends.tensors import BYTES, Tensor, unpack_bytes
from routing.rollout.betting import UNMEASURED
from routing.shadow.compare_trees import parsed


def unparseable(response: InferenceResponse, output: str) -> int:
    """1 if its tensors cannot be read, or the `output`, where one is named, is missing or not JSON in every element; else 0."""
    try:
        found = _named(response, output)
        if not output:
            return 0
        if found is None or found.datatype != BYTES:
            return 1
        for element in unpack_bytes(found.data, output):
            parsed(element)
    except (InferenceError, ValueError):
        return 1
    return 0


def flagged(response: InferenceResponse, output: str) -> int:
    """1 if any element of the output is neither 0 nor false nor an empty text, else 0; UNMEASURED without such an output."""
    try:
        found = _named(response, output)
        if found is None:
            return UNMEASURED
        if found.datatype == BYTES:
            return int(any(unpack_bytes(found.data, output)))
        return int(bool(found.array().any()))
    except InferenceError:
        return UNMEASURED


def _named(response: InferenceResponse, output: str) -> Tensor | None:
    return next((each for each in response.payload.tensors() if each.name == output), None)
