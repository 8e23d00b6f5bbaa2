"""The gateway in this process, both its sockets replaced: a client's bytes in, a backend's bytes in, and no kernel between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from backends.deadline import Deadline
from backends.http1.connection import Connection as BackendConnection
from backends.http1.pool import HttpPool, PoolLimits
from backends.triton_http import TritonHttp
from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.messages import Application
from gateway.edge.shared import Shared

READ_FIRST = 3  # requests, before one like them is known by its head (the first finds no connection to the backend)


class Wire(asyncio.Transport):
    """A socket's place: what is written is counted and dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: Any) -> None:
        """Taken at once."""
        self.written += 1

    def writelines(self, list_of_data: Any) -> None:
        """Taken at once."""
        self.written += 1

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing is left unwritten."""
        return 0


class Pool(HttpPool):
    """Connections that end in wires. There is one as long as no request is asked while another waits."""

    def __init__(self) -> None:
        super().__init__("unplugged", 1, PoolLimits(), "unplugged")
        self.connection: BackendConnection

    async def _connect(self, deadline: Deadline) -> BackendConnection:
        self.connection = self._connection()
        self.connection.connection_made(Wire())
        return self.connection


def message(first: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """A request or an answer as it comes over the wire."""
    fields = (*headers, ("Content-Length", str(len(body))))
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields), "", ""]).encode() + body


class Unplugged:
    """One client's connection before an application whose backend is `backend`."""

    def __init__(self) -> None:
        self._pool = Pool()
        self.backend = TritonHttp(self._pool, "unplugged")

    async def known(self, app: Application, asked: bytes, answer: bytes) -> Callable[[], None]:
        """Asks until the question is known; a step asks it once more, and it is answered without a turn of the loop."""
        shared, wire = Shared(app, Limits()), Wire()
        client = Connection(shared)
        client.connection_made(wire)

        def step() -> None:
            client.data_received(asked)
            self._pool.connection.data_received(answer)

        for _ in range(READ_FIRST):
            client.data_received(asked)
            await asyncio.sleep(0)
            self._pool.connection.data_received(answer)
            await asyncio.sleep(0)
        step()
        assert shared.heads.whole(asked, None) is not None, "the question is read each time"
        assert wire.written == READ_FIRST + 1, "a question waits for more than its answer"
        return step
