"""One finished request as metrics and the access log see it (written by the lead: the fronts fill it in)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
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
