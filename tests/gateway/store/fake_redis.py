"""A server that answers Redis commands as a test tells it, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import hiredis

from gateway.store.address import Address

Command = list[bytes]
Answer = bytes | None
"""None: it never answers."""


class FakeRedis:
    """Listens at `address`; `answer` says what is sent back for a command, `heard` is all that came."""

    def __init__(self, folder: Path, answer: Callable[[Command], Answer]) -> None:
        self.answer = answer
        self.heard: list[Command] = []
        self.address = Address(path=str(folder / "redis.sock"))
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> FakeRedis:
        self._server = await asyncio.start_unix_server(self._serve, self.address.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop()
        assert self._server is not None
        self._server.close()

    def drop(self) -> None:
        """Ends all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        parser = hiredis.Reader()
        while came := await reader.read(1 << 16):
            parser.feed(came)
            while (command := parser.gets()) is not False:
                self.heard.append(command)
                answer = self.answer(command)
                if answer is not None:
                    writer.write(answer)
