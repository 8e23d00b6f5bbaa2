"""One finished request as metrics and the access log see it; the fronts fill it in."""

from __future__ import annotations

import msgspec


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):  # one for every request: a frozen dataclass takes 3 µs more
    """Everything worth telling about a request at its end. Seconds, bytes; empty strings and zeros where nothing is known.

    `model`, `route` and `variant` come from the policy document, never from the client: an unknown model is "".
    `variant` lists several, in stage order, separated by commas; `shares` says how many rows each answered.
    `code` is the HTTP status, or the gRPC status word; `baseline` is what the dearest variant would have cost.
    """

    model: str
    route: str
    variant: str
    code: str
    seconds: float
    overhead_seconds: float
    backend_seconds: float
    rows: int
    cost: float
    baseline: float
    escalation: str
    shares: tuple[tuple[str, int], ...]
    request_id: str
    method: str
    path: str
    peer: str
    subject: str
    tenant: str
    bytes_in: int
    bytes_out: int
    policy: str
    reason: str
    traceparent: str
