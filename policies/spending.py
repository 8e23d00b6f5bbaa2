"""Counts what one ask has cost, whichever way it ended, and how many tokens its answer says there were.

An ask that was answered is paid for whole. So is one that a backend has and nobody waits for any more: its client left, time was
up, another stage had answered. What a backend refuses or breaks costs nothing, nor does an ask that no backend was sent. Attempts
beside the one that answered (hedges, and what was late) are the gateway's own way of asking: they cost, but not on the bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, RequestedOutput, Tensors
from backends.tensors import BYTES
from routing.cost import Costs
from routing.plan import Target
from routing.price import Price

_UNCOUNTABLE = frozenset({BYTES, "BF16"})  # the second has no numbers here (backends/tensors.py)
_LET_GO = frozenset({"abandoned", ErrorKind.DEADLINE.value})


class Spent(NamedTuple):
    """What an ask has cost: `own` is on its question's bill, `beside` is not."""

    own: float
    beside: float


class Ended(NamedTuple):
    """How one ask ended. Moments in seconds; `sent`: of the attempts that nobody has refused."""

    outcome: str
    response: InferenceResponse | None
    sent: Sequence[float]
    start: float
    now: float


def spent(costs: Costs, model: str, target: Target, rows: int, ended: Ended) -> Spent:
    """The cost of one ask of a target."""
    sent, now, price = ended.sent, ended.now, target.price
    own, others = 0.0, list(sent)
    if ended.response is not None:
        *others, last = sent or (ended.start,)
        tokens = 0.0 if price is None or not price.tokens else _tokens(price, rows, ended.response)
        own = costs.answered(model, target, rows, now - last, tokens)
    elif ended.outcome in _LET_GO and sent:
        first, *others = sent
        own = costs.let_go(model, target, rows, now - first)
    return Spent(own, sum([costs.let_go(model, target, rows, now - each) for each in others]))


def streamed(costs: Costs, model: str, target: Target, ended: Ended, size: tuple[int, float | None]) -> float:
    """The same of a stream; its `size` are rows, and the tokens that its answers told. One that is let go costs what it has taken
    until then.
    """
    rows, tokens = size
    if ended.outcome == "ok" or (ended.outcome in _LET_GO and ended.sent):
        return costs.answered(model, target, rows, ended.now - (ended.sent or (ended.start,))[-1], tokens)
    return 0.0


def more_tokens(tokens: float | None, price: Price | None, rows: int, response: InferenceResponse) -> float | None:
    """So many tokens and those of one answer more; None where one of them does not say."""
    if price is None or not price.tokens or tokens is None:
        return tokens
    told = _tokens(price, rows, response)
    return None if told is None else min(tokens + told, float(price.most_tokens * rows))


def with_tokens(request: InferenceRequest, price: Price) -> InferenceRequest:
    """The request, asking for the output that tells tokens, too."""
    if _told(request, price):
        return request
    outputs = (*request.outputs, RequestedOutput(price.tokens))
    return replace(request, outputs=outputs, payload=Tensors(request.payload.tensors()))  # as it came it would ask for less


def without_tokens(response: InferenceResponse, request: InferenceRequest, price: Price) -> InferenceResponse:
    """The response without it, where the `request` as it came did not ask for it."""
    if _told(request, price):
        return response
    return replace(response, payload=Tensors(tuple(each for each in response.payload.tensors() if each.name != price.tokens)))


def _told(request: InferenceRequest, price: Price) -> bool:
    """Whether the answer tells tokens without being asked to."""
    return not price.tokens or not request.outputs or any(output.name == price.tokens for output in request.outputs)


def _tokens(price: Price, rows: int, response: InferenceResponse) -> float | None:
    """How many there were; None where the answer does not say it in numbers that can be."""
    try:
        found = response.output(price.tokens)
        if found is None or found.datatype in _UNCOUNTABLE:
            return None
        counts = found.array().astype(np.float64)
    except InferenceError as error:  # nobody else need read it, and the client has its answer
        error.ended()
        return None
    if not np.isfinite(counts).all() or (counts < 0).any():
        return None
    return min(float(counts.sum()), float(price.most_tokens * rows))
