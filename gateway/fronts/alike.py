"""Asks a backend at once for a request whose head came before: what the head decided is decided, what may have changed is asked.

A head that is the same to the byte is the same caller, by the same credential, who asks for the same model and sends as many
bytes; a body that begins with the same JSON has tensors of the same names, datatypes, shapes and lengths. Of such a question all
is known but the tensors themselves, and whoever stands between it and the backend looks at none of them (policies/direct.py).
What may change by itself is asked each time, as in verbatim.py: whether the credential still holds, the snapshot, what the target
takes; the deadline and the backend's room are looked at where it is asked. An answer that begins as the one before did, and is as
long, is the same but for its tensors, and is passed on under the headers that were written then.

Anything else takes the long way: before it is asked from the beginning, afterwards with what was begun (backends/begun.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, cast

import msgspec
from msgspec.structs import replace

from backends.begun import Begun
from backends.inference import InferenceResponse
from backends.protocols.v2_http import LENGTH_HEADER
from backends.protocols.v2_http_request import Inline
from backends.protocols.v2_http_response import HttpAnswer
from backends.signature import Signature
from gateway.auth.authenticator import Standing
from gateway.dialects.quota import quota_writer
from gateway.dialects.reply import told_alike
from gateway.edge.coding import MIN_DEFLATE, choose
from gateway.edge.messages import Asker, HttpResponse, Pending
from gateway.fronts.exchange import Exchange
from gateway.fronts.forms import SHORT, Begins, Expected, ExpectedJson, expected, form_of
from gateway.fronts.parts import FrontParts
from gateway.snapshot import PASSING, Snapshot
from gateway.telemetry.record import RequestRecord
from policies.call import Call, Past, Quota
from policies.direct import Direct, Started
from policies.onion import effective
from routing.plan import Target

Clock = Callable[[], float]
OWN = PASSING | {"idempotency-key", "content-encoding"}  # headers that make a request unlike all others
ODD = 8  # answers of another form than the one before, one after the other, until nobody counts on it any more

_NOBODY = ("deadline", "authorize")  # have had their say, or have it where the deadline is looked at
_PAST = (*_NOBODY, "cache", "coalesce")  # the same of what a cache that has turned itself off does not look up
_log = logging.getLogger(__name__)


Resumed = tuple[Begun, Quota | None]
"""What was begun, and the quota of its caller, where limits have counted it."""


class LongWay(Protocol):
    """Who takes over what cannot be answered at once."""

    def resume(self, exchange: Exchange, body: bytes, resumed: Resumed) -> Awaitable[HttpResponse]:
        """The whole way from the beginning, with a first attempt that was begun."""
        ...

    def cut(self, exchange: Exchange) -> None:
        """The client has left."""
        ...


class Went(NamedTuple):
    """A request that went the long way: what it was, what its target was known to take when it was asked, and its answer.

    `written` is that answer as the client got it, under these header `lines`. `past`: what the cache says of its not being looked
    up, where it does not.
    """

    exchange: Exchange
    snapshot: Snapshot
    call: Call
    signature: Signature | None
    response: InferenceResponse
    body: bytes
    written: bytes | memoryview
    lines: str
    past: Past | None = None


class Known(NamedTuple):
    """By what a request was answered: the snapshot's mark, the credential, what the target is known to take."""

    exchange: Exchange
    mark: object
    standing: Standing
    target: Target
    signature: Signature | None


Forms = tuple[Begins | Inline, Direct, Expected | ExpectedJson]
"""The form of its body, how it is asked, and the form of its answer."""


def alike(parts: FrontParts, clock: Clock, long: LongWay, went: Went) -> Alike | None:
    """For requests such as this one; None where they are to take the long way, each of them.

    To be made in the turn of the loop in which it was answered, or nothing may have been counted on that has changed since.
    """
    exchange, call, payload = went.exchange, went.call, went.response.payload
    direct = went.snapshot.models[call.model].direct
    if direct is None or effective(call.plan) != (_NOBODY if went.past is None else _PAST):
        return None
    if not OWN.isdisjoint(exchange.headers) or (call.plan.sample and parts.samples is not None):
        return None
    standing = parts.authenticator.standing(exchange.headers, exchange.principal)
    if standing is None or not isinstance(payload, HttpAnswer) or went.snapshot is not parts.plane.snapshot:
        return None
    most = MIN_DEFLATE - 1 if choose(exchange.headers.get("accept-encoding", "")) else SHORT
    answer = expected(payload, went.written, call.request.model, most, went.lines)
    form, asked = form_of(went.body, exchange.headers.get(LENGTH_HEADER), call.request.payload), direct(call)
    if form is None or answer is None or asked is None:
        return None
    target, asked.past = call.plan.stages[0].target, went.past
    known = Known(exchange, went.snapshot.mark, standing, target, went.signature)
    return Alike(parts, clock, long, known, (form, asked, answer))


class Alike:
    """Implements gateway.edge.messages.Alike."""

    __slots__ = (
        *("_baseline", "_clock", "_direct", "_expected", "_form", "_holds", "_known", "_left", "_long", "_mark"),
        *("_new_id", "_odd", "_plane", "_record", "_tell", "sized"),
    )

    def __init__(self, parts: FrontParts, clock: Clock, long: LongWay, known: Known, forms: Forms) -> None:
        self._plane, self._tell, self._new_id = parts.plane, parts.record, parts.new_id
        self._clock, self._long, self._known = clock, long, known
        self._form, self._direct, self._expected = forms
        self._odd, self._left = 0, quota_writer(self._direct.counted)
        exchange = known.exchange
        self._mark, self._holds, self._baseline = known.mark, known.standing.holds, exchange.baseline
        self._record = replace(exchange.record, code="200")
        self.sized = isinstance(self._form, Begins) or self._direct.weighed
        self._record.subject, self._record.tenant = exchange.principal.subject, exchange.principal.tenant

    def current(self) -> bool:
        """Whether all by which it was made is as it was."""
        plane, known = self._plane, self._known
        if plane.snapshot.mark is not self._mark or plane.signature(known.target) is not known.signature:
            return False
        return self._holds(time.time())

    def ask(self, body: bytes | memoryview, received: float, peer: str, asker: Asker) -> Pending | None:
        """Asks at once; None: nothing has been done, and the request is to be taken like any other."""
        direct = self._direct
        if self._odd >= ODD or not self.current() or (direct.past is not None and not direct.past.stands(self._clock())):
            return None
        if (tensors := self._form.tensors(body)) is None:
            return None
        asked = _Asked(self, asker, self._new_id(), body, received, peer)
        started = direct.begin(asked.id.encode(), tensors, received, asked.told)
        if started is None:
            return None
        asked.started = started
        return asked

    def answer(self, asked: _Asked) -> tuple[str, bytes] | None:
        """The lines and the body of what is said at once, if that can be; it is counted and recorded then, and holds nothing any
        more.
        """
        (begun, verdict), record = asked.started, self._record
        body = self._expected.body(begun)
        if body is None:
            self._odd += begun.answer is not None
            return None
        self._odd = 0
        record.backend_seconds = backend = self._direct.finish(begun)
        record.seconds = seconds = self._clock() - asked.received
        record.overhead_seconds = seconds - backend if seconds > backend else 0.0  # max() costs 0.1 µs
        record.request_id, record.peer, record.bytes_in, record.bytes_out = asked.id, asked.peer, len(asked.body), len(body)
        if self._baseline is not None:
            record.baseline = self._baseline(max(1, record.rows))
        self._tell(record)
        own = told_alike(asked.id, seconds, backend)
        if verdict is not None:
            own += self._left(verdict)
        return self._expected.lines + own, body

    async def work(self, asked: _Asked) -> HttpResponse:
        """Its answer, which takes the long way."""
        begun, verdict = asked.started
        quota = None if verdict is None else Quota(self._direct.counted, verdict)
        try:
            return await self._long.resume(self._exchange(asked), bytes(asked.body), (begun, quota))
        finally:
            self._direct.abandon(begun)  # if nobody got so far as to go on with it

    def left(self, asked: _Asked) -> None:
        """Its client left before there was an answer."""
        self._direct.abandon(asked.started[0])
        exchange, was = self._exchange(asked), self._record
        record = exchange.record
        record.route, record.policy, record.rows, record.bytes_in = was.route, was.policy, was.rows, len(asked.body)
        self._long.cut(exchange)

    def _exchange(self, asked: _Asked) -> Exchange:
        known, was = self._known.exchange, self._record
        record = RequestRecord(asked.id, was.method, was.path, asked.peer, model=was.model)
        return Exchange(known.headers, asked.received, record, known.principal)


class _Asked(msgspec.Struct, eq=False):
    """One request that waits for its backend. Implements gateway.edge.messages.Pending. A struct: half the time to make."""

    alike: Alike
    asker: Asker
    id: str
    body: bytes | memoryview
    received: float
    peer: str
    started: Started = cast("Started", None)  # set where it is asked, before anybody looks

    def told(self) -> None:
        """By what was begun: it is done, or takes long."""
        try:
            answer = self.alike.answer(self)
        except Exception:  # noqa: BLE001 - the client gets an answer, whatever is wrong here
            _log.exception("an answer could not be passed on as the one before")
            answer = None
        if answer is not None:
            self.asker.answered(*answer)
        else:
            self.asker.work(self.alike.work(self))

    def cancel(self) -> None:
        """The client has left."""
        self.alike.left(self)
        self.asker.ended()
