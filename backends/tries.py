"""What became of one question's attempts so far."""

from __future__ import annotations

from backends.endpoint import Endpoint
from backends.errors import InferenceError


class Tries:
    """`count`: attempts that reached an endpoint and have failed; `failure`: the first, which is the cause.

    `tried`: endpoints that another attempt passes over where it can; `gone`: those that could not be reached.
    """

    __slots__ = ("count", "failure", "gone", "tried")

    def __init__(self) -> None:
        self.count = 0
        self.failure: InferenceError | None = None
        self.tried: list[Endpoint] = []
        self.gone: list[Endpoint] = []
