"""Backends that take a question and never answer it, so that only leaving can end it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import grpc.aio


class Silence:
    """What a test sees: `asked` when a question to infer has come, `left` when its asker is gone."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.port = 0


class SilentHttp(Silence):
    """Over HTTP/1.1; anything but an inference is a 503."""

    protocol = "triton-http"

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
                self.asked.set()
                while await reader.read(65536):  # until the other side hangs up
                    pass
                self.left.set()
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
        await self._wait()
        return b""

    async def _stream(self, questions: Any, rpc: Any) -> None:
        async for _ in questions:
            await self._wait()

    async def _wait(self) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
