"""The application behind the gRPC port: the same questions to the same data plane, told apart only by their wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from backends.errors import InferenceError
from backends.inference import Description, InferenceRequest
from backends.protocols.v2_grpc import GrpcPayload
from gateway.auth.refusals import KeyUnknown
from gateway.dataplane import Inquiry, Outcome
from gateway.dialects.quota import quota_headers, quota_of
from gateway.dialects.reply import client_timeout, failure_headers, request_id, server_metadata, told, version_asked
from gateway.dialects.v2_grpc import may_lie, status_of
from gateway.edge.grpc import GrpcHead, InferenceReply
from gateway.edge.messages import RequestHead
from gateway.fronts.exchange import Exchange, began
from gateway.fronts.parts import FrontParts
from gateway.snapshot import Snapshot
from policies.authorize import demand
from policies.call import Call
from routing.principal import Principal

_DESCRIBED: dict[Description, str] = {"metadata": "ModelMetadata", "config": "ModelConfig", "stats": "ModelStatistics"}
_INLINE = 256 * 1024  # bytes of a message that are read on the loop: about 10 ms for the shortest elements


class GrpcFront:
    """Implements gateway.edge.grpc.GrpcApplication."""

    def __init__(self, parts: FrontParts) -> None:
        self._parts = parts
        self._plane = parts.plane

    def identity(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The client's id or one made for it, and the policy's version."""
        made = request_id(metadata, self._parts.new_id())
        return {"x-request-id": made, "x-penstock-policy": self._plane.snapshot.version}

    async def admit(self, call: GrpcHead) -> Principal:
        """Whoever has no credential that holds hears that, whatever else is wrong."""
        return await self._principal(call)

    def refused(self, error: InferenceError, call: GrpcHead, method: str) -> None:
        """One record of it."""
        _Recorded(self._parts, method, call).__exit__(None, error, None)

    async def infer(self, request: InferenceRequest, call: GrpcHead) -> InferenceReply:
        """One question, one answer, one record."""
        with _Recorded(self._parts, "ModelInfer", call) as exchange:
            snapshot, planned = await self._planned(exchange, request, call)
            outcome = Outcome(await self._plane.ask(snapshot, planned), planned.plan, snapshot.version)
            if not isinstance(outcome.answer.response.payload, GrpcPayload):
                outcome.answer.response.payload.tensors()  # what cannot be read must not be told as OK
            exchange.answered(outcome)
            fixed, own = told(outcome, exchange.record.request_id, time.monotonic() - exchange.received)
        return InferenceReply(outcome.answer.response, (*fixed, *own, *quota_headers(outcome.answer.quota)))

    async def stream(self, request: InferenceRequest, call: GrpcHead) -> AsyncIterator[InferenceReply]:
        """One question of a stream, its answers as they come, one record at the end."""
        with _Recorded(self._parts, "ModelStreamInfer", call) as exchange:
            snapshot, planned = await self._planned(exchange, request, call)
            async with aclosing(self._plane.stream(snapshot, planned)) as outcomes:
                async for outcome in outcomes:
                    if not exchange.record.variant:  # the first answer carries the question's cost
                        exchange.answered(outcome)
                    exchange.record.backend_seconds = outcome.answer.backend_seconds
                    seconds = time.monotonic() - exchange.received
                    fixed, own = told(outcome, exchange.record.request_id, seconds)
                    yield InferenceReply(outcome.answer.response, (*fixed, *own, *quota_headers(outcome.answer.quota)))

    async def describe(self, what: Description, model: str, version: str, call: GrpcHead) -> dict[str, Any]:
        """As over HTTP."""
        with _Recorded(self._parts, _DESCRIBED[what], call) as exchange:
            exchange.principal = await self._principal(call)
            return await self._plane.describe(what, model, version_asked(version, call.metadata), exchange.principal)

    async def live(self) -> bool:
        """This process answers."""
        return True

    async def ready(self, model: str, version: str, call: GrpcHead) -> bool:
        """The model's variants, or with no name this process."""
        if not model:
            return self._parts.ready()
        with _Recorded(self._parts, "ModelReady", call) as exchange:
            exchange.principal = await self._principal(call)
            return await self._plane.ready(model, version_asked(version, call.metadata), exchange.principal)

    async def index(self, call: GrpcHead) -> list[dict[str, Any]]:
        """As over HTTP."""
        with _Recorded(self._parts, "RepositoryIndex", call) as exchange:
            exchange.principal = await self._principal(call)
            return [dict(entry) for entry in await self._plane.index(exchange.principal)]

    async def server(self, call: GrpcHead) -> dict[str, Any]:
        """As over HTTP."""
        with _Recorded(self._parts, "ServerMetadata", call) as exchange:
            exchange.principal = await self._principal(call)
            return server_metadata()

    async def _planned(self, exchange: Exchange, request: InferenceRequest, call: GrpcHead) -> tuple[Snapshot, Call]:
        exchange.principal = await self._principal(call)
        snapshot = self._plane.snapshot
        model = snapshot.model(request.model)
        exchange.record.model = model.name
        demand(exchange.principal, model.name)  # as over HTTP, before anything else is found wrong
        exchange.record.rows = request.rows or 1
        version = version_asked(request.version, call.metadata)
        request = replace(request, version=version, headers=exchange.passed_headers())
        timeouts = [limit for limit in (call.deadline, client_timeout(call.metadata)) if limit is not None]
        timeout = min(timeouts, default=None)
        if model.door.crowded():
            model.door.check(exchange.principal, call.metadata, exchange.received, timeout)
        inquiry = Inquiry(exchange.principal, call.metadata, exchange.record.request_id, call.received, timeout, call.size)
        try:
            if call.size > _INLINE and self._plane.takes_long(snapshot, request):
                planned = await asyncio.to_thread(self._plane.plan, snapshot, request, inquiry)
            else:
                planned = self._plane.plan(snapshot, request, inquiry)
        except InferenceError as error:
            if self._parts.samples is not None:
                exchange.record.drawn = self._parts.samples.refused(snapshot, request, inquiry, error, call.size > _INLINE)
            raise
        exchange.planned(planned, snapshot, self._parts.samples)
        if may_lie(request):
            if call.size > _INLINE:
                await asyncio.to_thread(request.payload.tensors)
            else:
                request.payload.tensors()
        return snapshot, planned

    async def _principal(self, call: GrpcHead) -> Principal:
        if call.principal is not None:
            return call.principal
        try:
            return self._parts.authenticator.check(call.metadata, time.time(), call.peer)
        except KeyUnknown:
            return await self._parts.authenticator.authenticate(call.metadata, time.time(), call.peer)


class _Recorded:
    """One record of a call, however it ends: answered, failed, left by its client, or broken by a defect of ours."""

    def __init__(self, parts: FrontParts, method: str, call: GrpcHead) -> None:
        self._parts = parts
        self._call = call
        path = f"/inference.GRPCInferenceService/{method}"
        head = RequestHead("GRPC", path, "", call.metadata, call.peer, call.received)
        self._exchange = began(head, call.told["x-request-id"])
        self._exchange.record.bytes_in = call.size

    def __enter__(self) -> Exchange:
        return self._exchange

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        now = time.monotonic()
        if error is None:
            code = "OK"
        elif isinstance(error, InferenceError):
            self._exchange.failed(error)
            code = status_of(error.kind).name
            self._call.told.update(failure_headers(self._exchange.record.route, now - self._exchange.received))
            self._call.told.update(quota_of(error))
            if self._exchange.record.policy:  # that planned it: another may have come since its head was read
                self._call.told["x-penstock-policy"] = self._exchange.record.policy
        elif isinstance(error, Exception):
            code = "INTERNAL"
        else:  # cancelled, or a stream that was closed: nobody waits for the rest
            self._exchange.record.reason = "draining" if self._parts.leaving() else "client-left"
            code = "CANCELLED"
        self._parts.record(self._exchange.ended(code, now, self._parts.plane.snapshot.version))
