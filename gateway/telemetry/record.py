"""One request as metrics and the access log see it; the fronts fill it in while it lives and tell it once, at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from policies.call import Asked
from routing.match import Question
from routing.plan import Plan
from routing.sampling import Sampling

if TYPE_CHECKING:
    from gateway.telemetry.metrics import Line


class Drawn(msgspec.Struct, gc=False):
    """A request that is to be recorded as a sample: what routing saw of it. `plan` is None where the policy refused it.

    `policy` is the version that did, `asked` the name that the client used, `share` how many of such requests are drawn; `asks`
    come with the answer.
    """

    policy: str
    sampling: Sampling
    question: Question
    asked: str
    plan: Plan | None
    share: float
    asks: tuple[Asked, ...] = ()


class RequestRecord(msgspec.Struct, gc=False):  # mutable: making a new one at the end, with all its fields, cost 5 µs a request
    """Everything worth telling about a request at its end. Seconds, bytes; empty strings and zeros where nothing is known.

    `model`, `route` and `variant` come from the policy document, never from the client: an unknown model is "".
    `variant` lists several, in stage order, separated by commas; `shares` says how many rows each answered.
    `code` is the HTTP status, or the gRPC status word; `baseline` is what the dearest variant would have cost.
    `kept` is the share of the rows that nobody was asked about for this request, `cascade` whether its route is one.
    """

    request_id: str
    method: str
    path: str
    peer: str
    traceparent: str = ""
    model: str = ""
    route: str = ""
    variant: str = ""
    code: str = ""
    seconds: float = 0.0
    overhead_seconds: float = 0.0
    backend_seconds: float = 0.0
    rows: int = 0
    cost: float = 0.0
    baseline: float = 0.0
    kept: float = 0.0
    cascade: bool = False
    escalation: str = ""
    shares: tuple[tuple[str, int], ...] = ()
    subject: str = ""
    tenant: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    policy: str = ""
    reason: str = ""
    drawn: Drawn | None = None
    line: Line | None = None  # the cells that metrics count it in, since it was told first; told again, it has the same labels
