"""What an ask costs beside its rows, as the policy says it."""

from __future__ import annotations

import msgspec


class Price(msgspec.Struct, frozen=True, gc=False):
    """For the ask itself, for a millisecond of it at the backend, and for a token, all in the policy's own unit.

    `tokens` names the output that says how many tokens there were; "" where a token costs nothing.
    """

    call: float = 0.0
    gpu_ms: float = 0.0
    token: float = 0.0
    tokens: str = ""
