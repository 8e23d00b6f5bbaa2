"""The application behind the gRPC port: the same questions to the same data plane, told apart only by their wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from backends.errors import InferenceError
from backends.inference import Description, InferenceRequest
from backends.protocols.v2_grpc import GrpcPayload
from gateway.auth.refusals import KeyUnknown
from gateway.dataplane import Inquiry
from gateway.dialects.reply import client_timeout, reply_headers, request_id
from gateway.dialects.v2_grpc import status_of
from gateway.edge.grpc import GrpcHead, InferenceReply
from gateway.edge.messages import RequestHead
from gateway.fronts.exchange import Exchange, began
from gateway.fronts.http import server_metadata
from gateway.fronts.parts import FrontParts
from gateway.snapshot import Snapshot
from policies.call import Call
from routing.principal import Principal

_DESCRIBED: dict[Description, str] = {"metadata": "ModelMetadata", "config": "ModelConfig", "stats": "ModelStatistics"}


class GrpcFront:
    """Implements gateway.edge.grpc.GrpcApplication."""

    def __init__(self, parts: FrontParts) -> None:
        self._parts = parts
        self._plane = parts.plane

    def identity(self, metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The client's id or one made for it, and the policy's version."""
        made = request_id(metadata, self._parts.new_id())
        return (("x-request-id", made), ("x-penstock-policy", self._plane.snapshot.version))

    async def admit(self, call: GrpcHead) -> None:
        """Whoever has no credential that holds hears that, whatever else is wrong."""
        await self._principal(call)

    def refused(self, error: InferenceError, call: GrpcHead, method: str) -> None:
        """One record of it."""
        exchange = self._exchange(method, call)
        exchange.failed(error)
        self._tell(exchange, status_of(error.kind).name)

    async def infer(self, request: InferenceRequest, call: GrpcHead) -> InferenceReply:
        """One question, one answer, one record."""
        exchange = self._exchange("ModelInfer", call)
        try:
            snapshot, planned = await self._planned(exchange, request, call)
            outcome = await self._plane.ask(snapshot, planned)
            if not isinstance(outcome.answer.response.payload, GrpcPayload):
                outcome.answer.response.payload.tensors()  # what cannot be read must not be told as OK
        except InferenceError as error:
            exchange.failed(error)
            self._tell(exchange, status_of(error.kind).name)
            raise
        except asyncio.CancelledError:
            self._left(exchange)
            raise
        exchange.answered(outcome)
        headers = reply_headers(outcome, exchange.record.request_id, time.monotonic() - exchange.received)
        self._tell(exchange, "OK")
        return InferenceReply(outcome.answer.response, headers)

    async def stream(self, request: InferenceRequest, call: GrpcHead) -> AsyncIterator[InferenceReply]:
        """One question of a stream, its answers as they come, one record at the end."""
        exchange = self._exchange("ModelStreamInfer", call)
        code = ""
        try:
            snapshot, planned = await self._planned(exchange, request, call)
            async with aclosing(self._plane.stream(snapshot, planned)) as outcomes:
                async for outcome in outcomes:
                    if not exchange.record.variant:  # the first answer carries the question's cost
                        exchange.answered(outcome)
                    exchange.record.backend_seconds = outcome.answer.backend_seconds
                    seconds = time.monotonic() - exchange.received
                    yield InferenceReply(outcome.answer.response, reply_headers(outcome, exchange.record.request_id, seconds))
            code = "OK"
        except InferenceError as error:
            exchange.failed(error)
            code = status_of(error.kind).name
            raise
        finally:
            if code:
                self._tell(exchange, code)
            else:  # closed or cancelled: nobody waits for the rest
                self._left(exchange)

    async def describe(self, what: Description, model: str, version: str, call: GrpcHead) -> dict[str, Any]:
        """As over HTTP."""
        async with self._recorded(_DESCRIBED[what], call) as principal:
            return await self._plane.describe(what, model, version, principal)

    async def live(self) -> bool:
        """This process answers."""
        return True

    async def ready(self, model: str, version: str, call: GrpcHead) -> bool:
        """The model's variants, or with no name this process."""
        if not model:
            return self._parts.ready()
        async with self._recorded("ModelReady", call) as principal:
            return await self._plane.ready(model, version, principal)

    async def index(self, call: GrpcHead) -> list[dict[str, Any]]:
        """As over HTTP."""
        async with self._recorded("RepositoryIndex", call) as principal:
            return [dict(entry) for entry in await self._plane.index(principal)]

    def server(self) -> dict[str, Any]:
        """As over HTTP."""
        return server_metadata()

    @asynccontextmanager
    async def _recorded(self, method: str, call: GrpcHead) -> AsyncIterator[Principal]:
        """Whoever asks, and one record of how it ended."""
        exchange = self._exchange(method, call)
        code = "CANCELLED"
        try:
            exchange.principal = await self._principal(call)
            yield exchange.principal
            code = "OK"
        except InferenceError as error:
            exchange.failed(error)
            code = status_of(error.kind).name
            raise
        finally:
            self._tell(exchange, code)

    async def _planned(self, exchange: Exchange, request: InferenceRequest, call: GrpcHead) -> tuple[Snapshot, Call]:
        exchange.principal = await self._principal(call)
        snapshot = self._plane.snapshot
        exchange.record.model = snapshot.model(request.model).name
        exchange.record.rows = request.rows or 1
        version = request.version or call.metadata.get("x-model-version", "")
        request = replace(request, version=version, headers=exchange.passed_headers())
        timeouts = [limit for limit in (call.deadline, client_timeout(call.metadata)) if limit is not None]
        timeout = min(timeouts, default=None)
        inquiry = Inquiry(exchange.principal, call.metadata, exchange.record.request_id, call.received, timeout)
        planned = self._plane.plan(snapshot, request, inquiry)
        exchange.planned(planned.plan)
        return snapshot, planned

    async def _principal(self, call: GrpcHead) -> Principal:
        try:
            return self._parts.authenticator.check(call.metadata, time.time())
        except KeyUnknown:
            return await self._parts.authenticator.authenticate(call.metadata, time.time())

    def _exchange(self, method: str, call: GrpcHead) -> Exchange:
        path = f"/inference.GRPCInferenceService/{method}"
        exchange = began(RequestHead("GRPC", path, "", call.metadata, call.peer, call.received), call.identity[0][1])
        exchange.record.bytes_in = call.size
        return exchange

    def _left(self, exchange: Exchange) -> None:
        exchange.record.reason = "client-left" if self._parts.ready() else "draining"
        self._tell(exchange, "CANCELLED")

    def _tell(self, exchange: Exchange, code: str) -> None:
        self._parts.record(exchange.ended(code, time.monotonic(), self._plane.snapshot.version))
