"""What the policy says of keeping a model's answers, and which of them an operator throws away."""

from __future__ import annotations

import msgspec


class Caching(msgspec.Struct, frozen=True, gc=False):
    """How long answers are kept, and for whom; durations in seconds.

    `epoch` stands for all that the policy says of the model: under another definition no answer of this one is found.
    """

    ttl: float
    epoch: bytes
    rows: bool = False  # each row of a batch has an entry of its own
    shared: bool = False  # tenants share entries
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    tag: str = ""


class Purge(msgspec.Struct, frozen=True, gc=False):
    """Which answers go: those that are all that is said here; what is "" says nothing."""

    model: str = ""
    variant: str = ""
    version: str = ""
    tag: str = ""
