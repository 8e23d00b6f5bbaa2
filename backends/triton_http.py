"""A Triton (or any Open Inference Protocol server) asked over HTTP/1.1 with the binary tensor extension."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError, invalid, readable
from backends.http1.connection import Connection, Promised
from backends.http1.messages import JOIN_BELOW, heading, late
from backends.http1.pool import HttpPool, UpstreamRequest, UpstreamResponse
from backends.inference import Description, InferenceRequest, InferenceResponse, Tensors
from backends.protocols.v2_http import LENGTH_HEADER, Encoded, error_text
from backends.protocols.v2_http_request import HttpQuestion, encode_request
from backends.protocols.v2_http_response import decode_response
from backends.schedule import Schedules, out_of_time, scheduled
from backends.tensors import BYTES

_PATHS: dict[Description, str] = {"metadata": "", "config": "/config", "stats": "/stats"}
_PART = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,128}")


_ID = "_"  # where a request's id is to stand


class Form(msgspec.Struct, frozen=True, gc=False):
    """How questions are written that differ from `request` by nothing but their id and the bytes of their tensors.

    `request` has no tensors; `head` is its JSON for backends, `size` the bytes of the tensors behind it, `written` by the
    backend's address what stands before and behind the id; `key` is the model and version that they ask about.
    """

    request: InferenceRequest
    head: bytes
    size: int
    written: dict[str, tuple[bytes, bytes]]
    key: tuple[str, str]


class _Indexed(msgspec.Struct, frozen=True):
    """One model version in the index of a repository."""

    name: str


class TritonHttp:
    """One endpoint. Implements backends.inference.Backend; decoupled models need triton-grpc.

    `schedules` may fill up later.
    """

    def __init__(self, pool: HttpPool, source: str, schedules: Schedules | None = None) -> None:
        self._pool = pool
        self.leave = pool.leave  # gives back a spare connection, when it has been asked or before
        self._source = source
        self._schedules = {} if schedules is None else schedules

    async def infer(self, request: InferenceRequest, deadline: Deadline, *, fresh: bool = False) -> InferenceResponse:
        """One POST: a head of ours, and behind it a client's own bytes where it sent them in binary. `fresh`: as in the pool."""
        if self._schedules:
            request = scheduled(request, self._schedules, deadline)
        encoded = encode_request(request)
        path = _path(request.model, request.version, "/infer")
        asked = UpstreamRequest("POST", path, request.headers, encoded.parts, request.repeatable, encoded.headers())
        return self.read(await self._pool.ask(asked, deadline, fresh=fresh), request, deadline)

    def read(self, answer: UpstreamResponse, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """What the answer to the request says."""
        if answer.status != 200:
            if answer.status == 503 and out_of_time(error_text(answer.body), deadline):
                raise late(self._source)
            raise self._failure(answer)
        verbatim = isinstance(request.payload, HttpQuestion)
        return decode_response(answer.body, answer.headers.get(LENGTH_HEADER), self._source, verbatim)

    def form(self, request: InferenceRequest) -> Form | None:
        """For questions like this one; None where they are not in our own form, or have texts, whose lengths are their own."""
        payload = request.payload
        if not isinstance(payload, HttpQuestion) or any(spec.datatype == BYTES for spec in payload.specs):
            return None
        head, size = encode_request(request).parts[0], sum(len(part) for part in payload.parts)
        return Form(
            replace(request, payload=Tensors(()), headers=(), sent=None), bytes(head), size, {}, (request.model, request.version)
        )

    def spare(self, form: Form) -> Connection | None:
        """A connection by which such a question may be asked at once, to be left by `leave`."""
        return None if form.request.model in self._schedules else self._pool.take()

    def send(self, form: Form, connection: Connection, id: bytes, tensors: bytes | memoryview, answer: Promised) -> None:
        """Asks by that connection, under a request id of harmless characters."""
        before, behind = form.written.get(self._pool.authority) or self._opened(form)
        if form.size < JOIN_BELOW:
            connection.send([b"".join((before, id, behind, tensors))], answer, head_only=False)
        else:
            connection.send([b"".join((before, id, behind)), tensors], answer, head_only=False)

    def _opened(self, form: Form) -> tuple[bytes, bytes]:
        path, length = _path(form.request.model, form.request.version, "/infer"), len(form.head) + form.size
        asked = UpstreamRequest("POST", path, (("x-request-id", _ID),), described=Encoded((), len(form.head)).headers())
        before, behind = heading(asked, self._pool.authority, length).decode("latin-1").rsplit(_ID, 1)
        written = form.written[self._pool.authority] = before.encode("latin-1"), behind.encode("latin-1") + form.head
        return written

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        """Over HTTP one question has one answer."""
        yield await self.infer(request, deadline)

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """GET the model's or the server's ready path."""
        path = _path(model, version, "/ready") if model else "/v2/health/ready"
        return (await self._get(path, deadline)).status == 200

    async def describe(self, what: Description, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        """The JSON object as the server gives it."""
        answer = await self._get(_path(model, version, _PATHS[what]), deadline)
        if answer.status != 200:
            raise self._failure(answer)
        try:
            return dict(msgspec.json.decode(answer.body, type=dict[str, Any]))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._broken("sent a description that is not JSON") from error

    async def models(self, deadline: Deadline) -> tuple[str, ...]:
        """The repository's index. Implements backends.inference.Repository."""
        answer = await self._pool.ask(UpstreamRequest("POST", "/v2/repository/index", (), (b"{}",), True), deadline)
        if answer.status != 200:
            raise self._failure(answer)
        try:
            return tuple(dict.fromkeys(each.name for each in msgspec.json.decode(answer.body, type=list[_Indexed])))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._broken("sent an index of its models that cannot be read") from error

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    async def _get(self, path: str, deadline: Deadline) -> UpstreamResponse:
        return await self._pool.ask(UpstreamRequest("GET", path, (), (), True), deadline)

    def _failure(self, answer: UpstreamResponse) -> InferenceError:
        """What a status other than 200 means. Only texts of 4xx and 501 reach the client, and of no stack trace."""
        text = readable(error_text(answer.body))
        match answer.status:
            case 404:
                return InferenceError(ErrorKind.NOT_FOUND, text or "unknown model or version", source=self._source)
            case 400 | 413 | 415 if text.startswith("Request for unknown model"):
                return InferenceError(ErrorKind.NOT_FOUND, "unknown model or version", source=self._source)
            case 413:
                return InferenceError(ErrorKind.TOO_LARGE, text or "the request is too large", source=self._source)
            case 429 | 503:
                return InferenceError(
                    ErrorKind.OVERLOADED,
                    f"backend '{self._source}' has no room now: try again",
                    source=self._source,
                    retryable=True,
                )
            case 501:
                return InferenceError(ErrorKind.INVALID, text or "ask this model over a gRPC stream", source=self._source)
            case 504:
                return InferenceError(ErrorKind.DEADLINE, f"backend '{self._source}' ran out of time", source=self._source)
            case status if 400 <= status < 500:
                return InferenceError(
                    ErrorKind.INVALID, text or f"backend '{self._source}' refused the request", source=self._source
                )
            case status:
                return self._broken(f"failed with status {status}")

    def _broken(self, what: str) -> InferenceError:
        return InferenceError(ErrorKind.BROKEN, f"backend '{self._source}' {what}", source=self._source)


@lru_cache(maxsize=4096)
def _path(model: str, version: str, end: str = "") -> str:
    """The model's path; what would change the path's meaning never gets into it. Raises INVALID."""
    for part in (model, version or "1"):
        if _PART.fullmatch(part) is None:
            raise invalid("a model's name or version is 1 to 128 letters, digits, '.', '_' and '-'", "name")
    return f"/v2/models/{model}/versions/{version}{end}" if version else f"/v2/models/{model}{end}"
