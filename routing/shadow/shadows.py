"""What the policy says of a shadow, as values."""

from __future__ import annotations

import msgspec

from routing.shadow.compare import Rule


class Record(msgspec.Struct, frozen=True):
    """What is written down of answers: a confidence (routing/plan.py's, whose fields these are) and where the label stands."""

    output: str
    metric: str
    logits: bool = False
    path: tuple[str, ...] | None = None
    label: str = ""


class Shadow(msgspec.Struct, frozen=True):
    """A candidate that is asked beside whoever answers. Shares are 0 to 1, durations in seconds.

    `of` "": whatever the route answers. `budget`: cost at once, and cost a second. `epoch` stands for all that decides what a
    comparison means: what was counted under another does not count under this one.
    """

    name: str
    of: str
    to: str
    fraction: float
    noise: float = 1.0
    margin: float = 0.01
    alpha: float = 0.01
    timeout: float | None = None  # None: as long as the route's answer
    in_flight: int = 8
    queue: int = 32
    budget: tuple[float, float] | None = None
    payloads: bool = False
    tenants: frozenset[str] = frozenset()  # whose questions are never mirrored
    tiers: frozenset[str] = frozenset()
    rules: tuple[tuple[str, Rule], ...] = ()  # by output
    route: str = ""
    epoch: str = ""
    record: Record | None = None  # what is written down of the two answers; None: nothing
