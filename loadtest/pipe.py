"""The least a proxy on this interpreter and loop can do: bytes in, bytes out, nothing read, nobody checked.

What any gateway in Python can at best come near to: `python -m loadtest.pipe PORT BACKEND_PORT` is a row of loadtest.compare.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import uvloop


class Front(asyncio.Protocol):
    """A client's socket. (uvloop reads it from the beginning, whatever `connection_made` says of pausing.)"""

    def __init__(self, backend_port: int) -> None:
        self._backend_port = backend_port
        self._early: list[bytes] = []  # what came before there was a socket to the backend
        self._write: Callable[[bytes], None] = self._early.append
        self.transport: asyncio.Transport
        self._back: Back
        self._joining: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._joining = asyncio.get_running_loop().create_task(self._join())

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        _, self._back = await loop.create_connection(partial(Back, self), "127.0.0.1", self._backend_port)
        self._write = self._back.transport.write
        self._write(b"".join(self._early))
        if self.transport.is_closing():
            self._back.transport.close()

    def data_received(self, data: bytes) -> None:
        self._write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._joining.done():
            self._back.transport.close()


class Back(asyncio.Protocol):
    """Its socket to the backend."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._front.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.transport.close()


async def serve(port: int, backend_port: int) -> None:
    """Until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(partial(Front, backend_port), "127.0.0.1", port)
    gc.freeze()
    print("ready", flush=True)
    await ended.wait()
    server.close()


def main(arguments: Sequence[str]) -> int:
    """0: told to end."""
    port, backend_port = map(int, arguments)
    uvloop.run(serve(port, backend_port))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
