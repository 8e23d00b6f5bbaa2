"""What an ask costs beside its rows, as the policy says it."""

from __future__ import annotations

import msgspec

MOST_TOKENS = 1_000_000  # of a row: what a backend says beyond that is a mistake, and nobody's budget is spent by one


class Price(msgspec.Struct, frozen=True, gc=False):
    """For the ask itself, for a millisecond of it at the backend, and for a token, all in the policy's own unit.

    `tokens` names the output that says how many tokens there were; "" where a token costs nothing. Paid for are no more than
    `most_ms` milliseconds of an ask (None: as many as it has time) and `most_tokens` of a row.
    """

    call: float = 0.0
    gpu_ms: float = 0.0
    token: float = 0.0
    tokens: str = ""
    most_ms: float | None = None
    most_tokens: int = MOST_TOKENS
