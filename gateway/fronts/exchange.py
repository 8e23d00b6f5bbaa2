"""The facts of one request, gathered while it lives, so that one record of it can be made when it ends."""

from __future__ import annotations

from collections.abc import Mapping

from backends.errors import InferenceError
from gateway.dataplane import Outcome
from gateway.dialects.reply import request_id
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.trace import passed_on
from routing.plan import Plan
from routing.principal import Principal

_NOBODY = Principal(subject="")


class Exchange:
    """Mutable on purpose, and never shared between requests: whoever learns a fact writes it here."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "headers",
        "method",
        "model",
        "outcome",
        "path",
        "peer",
        "plan",
        "principal",
        "reason",
        "received",
        "request_id",
        "rows",
    )

    def __init__(self, method: str, path: str, headers: Mapping[str, str], peer: str, made_id: str) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.peer = peer
        self.request_id = request_id(headers, made_id)
        self.received = 0.0
        self.principal = _NOBODY
        self.model = ""  # only once the policy is known to have it
        self.rows = 0
        self.plan: Plan | None = None
        self.outcome: Outcome | None = None
        self.reason = ""
        self.bytes_in = 0
        self.bytes_out = 0

    def passed_headers(self) -> tuple[tuple[str, str], ...]:
        """What goes on to backends beside the tensors."""
        return (("x-request-id", self.request_id), *passed_on(self.headers))

    def failed(self, error: InferenceError) -> None:
        """Notes why there was no answer."""
        self.reason = error.reason

    def record(self, code: int | str, now: float, policy: str) -> RequestRecord:
        """The request's record at its end; `code` is the HTTP status or the gRPC status word."""
        outcome = self.outcome
        seconds = now - self.received
        backend = outcome.answer.backend_seconds if outcome else 0.0
        return RequestRecord(
            model=self.model,
            route=self.plan.route if self.plan else "",
            variant=",".join(share.variant for share in outcome.answer.shares) if outcome else "",
            code=str(code),
            seconds=seconds,
            overhead_seconds=max(0.0, seconds - backend),
            backend_seconds=backend,
            rows=self.rows,
            cost=outcome.answer.cost if outcome else 0.0,
            baseline=outcome.plan.dearest * max(1, self.rows) if outcome else 0.0,
            escalation=outcome.answer.escalation if outcome else "",
            shares=tuple((share.variant, share.rows) for share in outcome.answer.shares) if outcome else (),
            request_id=self.request_id,
            method=self.method,
            path=self.path,
            peer=self.peer,
            subject=self.principal.subject,
            tenant=self.principal.tenant,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            policy=outcome.policy if outcome else policy,
            reason=self.reason,
            traceparent=self.headers.get("traceparent", ""),
        )
