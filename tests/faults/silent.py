"""Backends that take a question and never answer it, so that only leaving can end it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from time import monotonic
from typing import Any

import grpc
import grpc.aio


class Silence:
    """What a test sees: `asked` when a question to infer has come, `left` when its asker is gone.

    The same for each question by its x-request-id: `came`, and in `gone` the moment, in seconds of the monotonic clock.
    A question is failed as often as `fails` says, `after` so many seconds, before silence.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.port = 0
        self.fails = 0
        self.after = 0.0
        self.times: Counter[str] = Counter()  # by x-request-id
        self.came: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gone: dict[str, float] = {}

    async def fail(self, id: str) -> bool:
        """Whether this ask of the question is to fail, once it is time for it."""
        self.times[id] += 1
        if self.times[id] > self.fails:
            return False
        await asyncio.sleep(self.after)
        return True

    def begin(self, id: str) -> None:
        """Silence from here on."""
        self.asked.set()
        self.came[id].set()

    def end(self, id: str) -> None:
        """The asker has left."""
        self.gone[id] = monotonic()
        self.left.set()


class SilentHttp(Silence):
    """Over HTTP/1.1; anything but an inference is a 503."""

    protocol = "triton-http"

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not head.startswith(b"POST "):
                    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}")
                    continue
                fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if line)
                await reader.readexactly(int(fields["content-length"]))
                id = fields["x-request-id"]
                if self.fails and await self.fail(id):
                    writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")
                    continue
                self.begin(id)
                try:
                    await reader.read(1)  # until the other side hangs up
                finally:
                    self.end(id)
                break
        writer.close()


class SilentGrpc(Silence):
    """Over gRPC, unary and streaming; anything but an inference is UNAVAILABLE."""

    protocol = "triton-grpc"

    async def start(self) -> None:
        """Listens."""
        self._server = grpc.aio.server()
        service = "inference.GRPCInferenceService"
        methods: dict[str, Any] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        """Stops listening."""
        await self._server.stop(None)

    async def _infer(self, _: bytes, rpc: Any) -> bytes:
        id = dict(rpc.invocation_metadata())["x-request-id"]
        if self.fails and await self.fail(id):
            await rpc.abort(grpc.StatusCode.INTERNAL, "no")
        await self._wait(id)
        return b""

    async def _stream(self, questions: Any, rpc: Any) -> None:
        async for _ in questions:
            await self._wait(dict(rpc.invocation_metadata())["x-request-id"])

    async def _wait(self, id: str) -> None:
        self.begin(id)
        try:
            await asyncio.Event().wait()
        finally:
            self.end(id)
