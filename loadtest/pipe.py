"""The least a proxy on this interpreter and loop can do: bytes in, bytes out, nothing read, nobody checked.

What any gateway in Python can at best come near to: `python -m loadtest.pipe PORT BACKEND_PORT` is a row of loadtest.compare.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import cast

import uvloop


class End(asyncio.Protocol):
    """One of the two sockets of a client; what comes at one is written to the other."""

    __slots__ = ("_early", "_other", "_transport")

    def __init__(self, other: End | None = None) -> None:
        self._other, self._early = other, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._other is not None:
            self._other.join(self)

    def join(self, other: End) -> None:
        """What came before the other one was there is written to it now."""
        self._other = other
        other.data(self._early)

    def data(self, data: bytes) -> None:
        """To whoever is at this socket."""
        cast(asyncio.Transport, self._transport).write(data)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data
        else:
            self._other.data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        """Its peer has left the other one."""
        if self._transport is not None:
            self._transport.close()


def accept(loop: asyncio.AbstractEventLoop, backend_port: int) -> End:
    """A client's end, which has the other one connected."""
    end = End()
    loop.create_task(loop.create_connection(partial(End, end), "127.0.0.1", backend_port))
    return end


async def serve(port: int, backend_port: int) -> None:
    """Until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(partial(accept, loop, backend_port), "127.0.0.1", port)
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
