"""What the connections of one listener have in common: their limits, their application, and the count of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.edge.addresses import Addresses
from gateway.edge.backlog import Backlog
from gateway.edge.gate import RefusedError
from gateway.edge.limits import Limits
from gateway.edge.messages import Application

if TYPE_CHECKING:
    from gateway.edge.http1 import Connection


class Shared:
    """One for each listener."""

    __slots__ = ("addresses", "app", "backlog", "connections", "date", "draining", "emptied", "limits", "loop")

    def __init__(self, app: Application, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.loop = asyncio.get_running_loop()  # asking for it costs a system call, so it is asked for once
        self.connections: set[Connection] = set()  # each until its socket and its errand are both gone
        self.backlog = Backlog(limits.unsent)
        self.addresses = Addresses()  # of these connections
        self.draining = False
        self.date = ""  # the header line, set by the listener's sweep
        self.emptied = asyncio.Event()

    def come(self, connection: Connection, peer: str) -> RefusedError | None:
        """Counts the connection in; why it is refused, if it is. Raises ConnectionRefusedError if even an answer is too much."""
        limits = self.limits
        self.connections.add(connection)
        total, own = len(self.connections), self.addresses.come(peer)
        most = 2 * limits.connections if limits.connections_per_address is None else limits.connections_per_address
        # Refusing holds a socket too, for a while; those of one address shall not take all the room that there is.
        if total > 2 * limits.connections or own > most + most // 8 + 1:
            raise ConnectionRefusedError
        if total > limits.connections:
            return RefusedError(503, "too many connections: try again later", "connections", "gateway")
        if own > most:
            return RefusedError(429, f"more than {most} connections from one address", "connections-per-address")
        return None

    def gone(self, connection: Connection, peer: str) -> None:
        """The connection holds nothing any more."""
        self.connections.discard(connection)
        self.addresses.gone(peer)
        if self.draining and not self.connections:
            self.emptied.set()
