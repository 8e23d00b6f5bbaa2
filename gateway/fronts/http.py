"""The application behind the HTTP edge: authenticates early, asks the data plane, writes the answer in the client's form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from backends.protocols.v2_http import JSON, LENGTH_HEADER
from backends.protocols.v2_http_request import decode_request, takes_long
from backends.protocols.v2_http_response import encode_response
from gateway.auth.refusals import KeyUnknown
from gateway.dataplane import Inquiry, Outcome
from gateway.dialects.kept import cache_headers
from gateway.dialects.quota import quota_headers, quota_of
from gateway.dialects.reply import client_timeout, failure_headers, server_metadata, told, version_asked
from gateway.dialects.v2_http import Operation, error_response, operation, status
from gateway.edge.coding import MIN_DEFLATE, choose, deflate, inflate
from gateway.edge.messages import Admitted, Again, HttpResponse, RequestHead
from gateway.edge.reply import lines
from gateway.fronts.alike import Resumed, Went, alike
from gateway.fronts.exchange import Exchange, began
from gateway.fronts.parts import FrontParts
from gateway.fronts.repeats import Place, Repeat, Repeats, Written, place
from gateway.fronts.shortcut import Shortcut, shortcut
from gateway.fronts.verbatim import verbatim
from gateway.snapshot import Snapshot
from policies.authorize import demand
from policies.call import Call

_INLINE = 256 * 1024  # bytes of a body that are read on the loop: less than 1 ms
_PROBES = frozenset({"live", "ready"})  # what orchestrators ask without a credential
_encode = msgspec.json.Encoder().encode


class HttpFront:
    """Implements gateway.edge.messages.Application."""

    def __init__(self, parts: FrontParts) -> None:
        self._parts = parts
        self._plane = parts.plane
        self._clock = time.monotonic  # the loop's own base, but uvloop's loop.time() counts whole milliseconds
        self._operations: dict[tuple[str, str], Operation] = {}
        self._repeats = Repeats()

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        """Path, credential, model and permission are settled before the body is read."""
        exchange = began(head, self._parts.new_id())
        try:
            asked = self._operation(head.method, head.path)
            if asked.kind in _PROBES:
                return partial(self._finish, exchange, partial(self._probe, asked))
            try:
                exchange.principal = self._parts.authenticator.check(head.headers, time.time(), head.peer)
            except KeyUnknown as unknown:
                if _long(head.headers):
                    unknown.keys.begin()
                    raise _keys_come() from unknown
                return partial(self._finish, exchange, partial(self._late_principal, exchange, asked))
            self._permit(exchange, asked)
            if asked.kind == "infer":
                return partial(self._ask, exchange, asked)
            return partial(self._finish, exchange, partial(self._describe, exchange, asked))
        except InferenceError as error:
            return self._failed(exchange, error)

    def refuse(self, error: InferenceError, code: int, head: RequestHead | None) -> HttpResponse:
        """What the edge itself would not take."""
        if error.reason == "incomplete":
            self._parts.left("body")
        exchange = began(head or RequestHead("", "", "", {}, "", self._clock()), self._parts.new_id())
        return self._failed(exchange, error, code)

    def left(self, stage: str) -> None:
        """Counts it."""
        self._parts.left(stage)

    def _operation(self, method: str, path: str) -> Operation:
        found = self._operations.get((method, path))
        if found is None:
            found = operation(method, path)
            if len(self._operations) >= 4096:  # a client may invent names without end
                self._operations.clear()
            self._operations[method, path] = found
        return found

    def _permit(self, exchange: Exchange, asked: Operation) -> None:
        """Raises NOT_FOUND, FORBIDDEN and OVERLOADED: the model must exist and be this principal's to ask."""
        if asked.model:
            model = self._plane.snapshot.model(asked.model)
            exchange.record.model = model.name
            demand(exchange.principal, model.name)
            if asked.kind == "infer" and model.door.crowded():
                model.door.check(exchange.principal, exchange.headers, exchange.received, client_timeout(exchange.headers))

    def _ask(self, exchange: Exchange, asked: Operation, body: bytes) -> HttpResponse | Awaitable[HttpResponse]:
        """The response at once, where there is a shortcut to it; else the work."""
        headers = exchange.headers
        if "content-encoding" not in headers:
            repeat = self._repeats.find(place(exchange.principal, asked.model, headers.get(LENGTH_HEADER), body))
            if repeat is not None and (short := repeat.shortcut) is not None:
                response = short.answer(self._plane, exchange, self._clock(), repeat.verbatim)
                if response is not None:
                    exchange.record.bytes_in = len(body)
                    self._tell(exchange, "200", len(response.body))
                    repeat.verbatim = repeat.verbatim or verbatim(self._parts, self._clock, short, exchange)
                    return response
        return self._finish(exchange, partial(self._infer, exchange, asked), body)

    async def _late_principal(self, exchange: Exchange, asked: Operation, body: bytes) -> HttpResponse:
        """For a token signed by a key not seen before: the keys are fetched first."""
        exchange.principal = await self._parts.authenticator.authenticate(exchange.headers, time.time(), exchange.record.peer)
        self._permit(exchange, asked)
        return await (self._infer if asked.kind == "infer" else self._describe)(exchange, asked, body)

    async def _finish(self, exchange: Exchange, work: Callable[[bytes], Awaitable[HttpResponse]], body: bytes) -> HttpResponse:
        """The work's response; its end, whatever it is, becomes one record."""
        exchange.record.bytes_in = len(body)
        try:
            response = await work(body)
        except InferenceError as error:
            return self._failed(exchange, error)
        except asyncio.CancelledError:
            self.cut(exchange)
            raise
        self._tell(exchange, "200", len(response.body))
        return response

    def resume(self, exchange: Exchange, body: bytes, resumed: Resumed) -> Awaitable[HttpResponse]:
        """The response to a request that was begun; see alike.py."""
        asked = self._operation(exchange.record.method, exchange.record.path)
        return self._finish(exchange, partial(self._infer, exchange, asked, resumed=resumed), body)

    def cut(self, exchange: Exchange) -> None:
        """The client has left, or has to."""
        exchange.record.reason = "draining" if self._parts.leaving() else "client-left"
        self._tell(exchange, "499")

    def _failed(self, exchange: Exchange, error: InferenceError, code: int | None = None) -> HttpResponse:
        exchange.failed(error)
        code = code or status(error.kind)
        known = failure_headers(exchange.record.route, self._clock() - exchange.received)
        response = error_response(error, code, (*self._identity(exchange), *known, *quota_of(error)))
        self._tell(exchange, str(code), len(response.body))
        return response

    def _tell(self, exchange: Exchange, code: str, size: int = 0) -> None:
        exchange.record.bytes_out = size
        self._parts.record(exchange.ended(code, self._clock(), self._plane.snapshot.version))

    def _identity(self, exchange: Exchange) -> tuple[tuple[str, str], ...]:
        policy = exchange.record.policy or self._plane.snapshot.version
        return (("x-request-id", exchange.record.request_id), ("x-penstock-policy", policy))

    async def _infer(self, exchange: Exchange, asked: Operation, body: bytes, resumed: Resumed | None = None) -> HttpResponse:
        headers = exchange.headers
        if coding := headers.get("content-encoding"):
            body = await inflate(body, coding, self._parts.inflated)
        length, version = headers.get(LENGTH_HEADER), version_asked(asked.version, headers)
        repeat = self._repeats.find(at := place(exchange.principal, asked.model, length, body))
        if repeat is not None:
            request = repeat.again(version, exchange.passed_headers())
        elif len(body) > _INLINE and takes_long(body, length):
            request = await asyncio.to_thread(decode_request, body, length, asked.model, version, exchange.passed_headers())
        else:
            request = decode_request(body, length, asked.model, version, exchange.passed_headers())
        if resumed is not None:
            request = resumed[0].about(request)
        exchange.record.rows = request.rows or 1
        snapshot = self._plane.snapshot
        call = await self._planned(exchange, snapshot, request, exchange.inquiry(client_timeout(headers), len(body)))
        if resumed is not None:
            call = replace(call, quota=resumed[1])
        takes = self._plane.signature(call.plan.stages[0].target)
        outcome = Outcome(await self._plane.ask(snapshot, call), call.plan, snapshot.version)
        exchange.answered(outcome)
        answer, described = self._written(outcome, request, at, repeat)
        same = repeat is not None and repeat.response is outcome.answer.response  # never one that is short only when deflated
        short = shortcut(self._plane, snapshot, call, outcome.answer, exchange) if same else None
        deflated = "accept-encoding" in headers and len(answer) >= MIN_DEFLATE
        if deflated:
            answer, described = await _deflated(answer, headers["accept-encoding"], described)
        fixed, own = told(outcome, exchange.record.request_id, self._clock() - exchange.received)
        own += quota_headers(outcome.answer.quota)
        again = found = None
        if repeat is not None and short is not None and short.signature is takes:
            short.body, short.lines = answer, lines((*fixed, *described))
            again = self._settled(repeat, short, exchange)
        if exchange.again and not deflated:
            cached = outcome.answer.cached
            written = body, answer, lines((*fixed, *described, *cache_headers(cached))), cached.past if cached else None
            went = Went(exchange, snapshot, call, takes, outcome.answer.response, *written)
            found = alike(self._parts, self._clock, self, went)
        return HttpResponse(200, (*described, *own), answer, fixed, again=again, alike=found)

    async def _planned(self, exchange: Exchange, snapshot: Snapshot, request: InferenceRequest, inquiry: Inquiry) -> Call:
        large = inquiry.size > _INLINE
        try:
            if large and self._plane.takes_long(snapshot, request):
                call = await asyncio.to_thread(self._plane.plan, snapshot, request, inquiry)
            else:
                call = self._plane.plan(snapshot, request, inquiry)
        except InferenceError as error:
            if self._parts.samples is not None:
                exchange.record.drawn = self._parts.samples.refused(snapshot, request, inquiry, error, large)
            raise
        exchange.planned(call, snapshot, self._parts.samples)
        return call

    def _settled(self, repeat: Repeat, short: Shortcut, exchange: Exchange) -> Again | None:
        """Remembers the shortcut; to what lies further away there is none but for who sends the same bytes."""
        if short.afar is not None:
            return verbatim(self._parts, self._clock, short, exchange)
        self._repeats.settle(repeat, short)
        return None

    def _written(self, outcome: Outcome, request: InferenceRequest, at: Place, repeat: Repeat | None) -> Written:
        """The answer in the client's form; one from the cache is remembered, and its question."""
        response, cached, caching = outcome.answer.response, outcome.answer.cached, outcome.plan.cache
        if repeat is not None and repeat.response is response:
            return repeat.written
        encoded = encode_response(response, request)
        parts = encoded.parts
        written = parts[0] if len(parts) == 1 else b"".join(parts), encoded.headers()
        if caching is not None and cached is not None and cached.status == "hit":
            repeat = repeat or self._repeats.keep(at, request, (request.rows or 0) if caching.rows else 0)
            if repeat is not None:
                self._repeats.write(repeat, response, written)
        return written

    async def _describe(self, exchange: Exchange, asked: Operation, body: bytes) -> HttpResponse:
        plane, identity = self._plane, self._identity(exchange)
        version = version_asked(asked.version, exchange.headers)
        found: Any
        match asked.kind:
            case "metadata" | "config" | "stats" as what:
                found = await plane.describe(what, asked.model, version, exchange.principal)
            case "model-ready":
                if not await plane.ready(asked.model, version, exchange.principal):
                    raise _unready(f"model '{asked.model}'")
                return HttpResponse(200, identity)
            case "feedback":
                found = {"accepted": self._parts.feedback(exchange.principal, body)}
            case "index":
                found = await plane.index(exchange.principal)
            case _:
                found = server_metadata()
        return HttpResponse(200, (("content-type", JSON), *identity), _encode(found))

    async def _probe(self, asked: Operation, body: bytes) -> HttpResponse:
        if asked.kind == "ready" and not self._parts.ready():
            raise _unready("this gateway")
        return HttpResponse(200)


def _long(headers: Mapping[str, str]) -> bool:
    """Whether the body is too large to be kept for somebody whose credential is not known yet."""
    return "transfer-encoding" in headers or int(headers.get("content-length", 0)) > _INLINE


def _keys_come() -> InferenceError:
    message = "the key of the token is being looked for at its issuer: try again in a second"
    return InferenceError(ErrorKind.UNAVAILABLE, message, reason="issuer-unavailable", retry_after=1.0)


def _unready(what: str) -> InferenceError:
    return InferenceError(ErrorKind.UNAVAILABLE, f"{what} is not ready: try again later", reason="not-ready")


async def _deflated(
    answer: bytes | memoryview, accepted: str, described: tuple[tuple[str, str], ...]
) -> tuple[bytes | memoryview, tuple[tuple[str, str], ...]]:
    coding = choose(accepted)
    if not coding:
        return answer, described
    return await deflate(bytes(answer), coding), (*described, ("content-encoding", coding), ("vary", "accept-encoding"))
