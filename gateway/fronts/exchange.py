"""What a front knows of one request while it lives; the record of it fills up on the way and is told at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from backends.errors import InferenceError
from gateway.dataplane import Inquiry, Outcome
from gateway.dialects.reply import request_id
from gateway.edge.messages import RequestHead
from gateway.snapshot import Snapshot
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.recorder import Recorder
from gateway.telemetry.trace import passed_on
from policies.call import Answer, Cached, Call
from routing.principal import Principal

_NOBODY = Principal(subject="")


def began(head: RequestHead, made_id: str) -> Exchange:
    """The exchange of a request that has just come; `made_id` is its id unless the client gave a sane one."""
    headers = head.headers
    parent = headers.get("traceparent", "")
    record = RequestRecord(request_id(headers, made_id), head.method, head.path, head.peer, parent)
    return Exchange(headers, head.received, record, again=head.again)


class Exchange(msgspec.Struct, gc=False):
    """Mutable on purpose, and never shared between requests: whoever learns a fact writes it here. `received` in seconds."""

    headers: Mapping[str, str]
    received: float
    record: RequestRecord
    principal: Principal = _NOBODY
    dearest: float = 0.0
    baseline: Callable[[int], float] | None = None
    again: bool = False  # its head came before, to the byte

    def passed_headers(self) -> tuple[tuple[str, str], ...]:
        """What goes on to backends beside the tensors."""
        passed = (("x-request-id", self.record.request_id), *passed_on(self.headers))
        key = self.headers.get("idempotency-key")
        return passed if key is None else (*passed, ("idempotency-key", key))

    def inquiry(self, timeout: float | None, size: int) -> Inquiry:
        """What routing is told of it; `timeout` in seconds, the client's own, `size` in bytes."""
        return Inquiry(self.principal, self.headers, self.record.request_id, self.received, timeout, size)

    def planned(self, call: Call, snapshot: Snapshot, samples: Recorder | None) -> None:
        """Notes the route and whose it is, also of a request that will fail, and whether it is to be recorded as a sample."""
        plan = call.plan
        self.record.route, self.record.policy = plan.route, snapshot.version
        self.record.cascade = len(plan.stages) > 1
        self.dearest, self.baseline = plan.dearest, snapshot.models[call.model].baseline
        if plan.sample and samples is not None:
            self.record.drawn = samples.planned(snapshot, call)

    def answered(self, outcome: Outcome) -> None:
        """Notes who answered and what it cost."""
        record, answer = self.record, outcome.answer
        if len(answer.shares) == 1:
            (share,) = answer.shares
            record.shares, record.variant = ((share.variant, share.rows),), share.variant
        else:
            record.shares = tuple([(share.variant, share.rows) for share in answer.shares])
            record.variant = ",".join([share.variant for share in answer.shares])
        record.backend_seconds = answer.backend_seconds
        record.cost = answer.cost
        rows = max(1, record.rows)
        record.baseline = self.dearest * rows if self.baseline is None else self.baseline(rows)
        if answer.cached is not None:
            record.kept = _kept(answer.cached)
        record.escalation = answer.escalation
        if record.drawn is not None:
            if _asked_nobody(answer):
                record.drawn = None  # a sample says what asking takes
            else:
                record.drawn.asks = answer.asks

    def repeated(self, known: Exchange) -> None:
        """Notes of an answer from the cache what was noted of the same one to the same question."""
        record, was = self.record, known.record
        record.rows, record.route, record.policy = was.rows, was.route, was.policy
        record.shares, record.variant, record.escalation = was.shares, was.variant, was.escalation
        record.kept, record.cascade = was.kept, was.cascade
        self.baseline = known.baseline
        record.baseline = was.baseline if self.baseline is None else self.baseline(max(1, was.rows))

    def failed(self, error: InferenceError) -> None:
        """Notes why there was no answer."""
        self.record.reason, self.record.cost = error.reason, error.cost
        error.ended()

    def ended(self, code: str, now: float, policy: str) -> RequestRecord:
        """The record, complete; `code` is the HTTP status or the gRPC status word, `policy` the version in force."""
        record = self.record
        record.code = code
        record.seconds = now - self.received
        if record.variant or not record.route:  # of a planned request without an answer nobody knows what backends took
            record.overhead_seconds = max(0.0, record.seconds - record.backend_seconds)
        record.subject = self.principal.subject
        record.tenant = self.principal.tenant
        record.policy = record.policy or policy
        return record


def _kept(cached: Cached) -> float:
    """The share of the rows that nobody was asked about on behalf of this request."""
    return 1.0 if cached.collapsed or cached.status in ("hit", "stale") else cached.kept


def _asked_nobody(answer: Answer) -> bool:
    """Whether what was kept, or asked on behalf of others, is a part of the answer."""
    return answer.cached is not None and (answer.cached.collapsed or answer.cached.status in ("hit", "stale", "partial"))
