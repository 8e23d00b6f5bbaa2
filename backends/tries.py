"""What became of one question's attempts so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.endpoint import Endpoint
from backends.errors import InferenceError


@dataclass(slots=True)
class Tries:
    """`count`: attempts that reached an endpoint and have failed; `failure`: the first, which is the cause.

    `tried`: endpoints that another attempt passes over where it can; `gone`: those that could not be reached.
    """

    count: int = 0
    failure: InferenceError | None = None
    tried: list[Endpoint] = field(default_factory=list)
    gone: list[Endpoint] = field(default_factory=list)
