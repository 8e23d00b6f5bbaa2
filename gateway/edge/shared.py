"""What the connections of one listener have in common: their limits, their application, and the count of them."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from gateway.edge.addresses import Addresses
from gateway.edge.backlog import Backlog
from gateway.edge.gate import RefusedError
from gateway.edge.heads import Heads
from gateway.edge.limits import Limits
from gateway.edge.messages import Again, Application, HttpResponse, Later

if TYPE_CHECKING:
    from gateway.edge.http1 import Connection


LONGEST = 16 * 1024  # bytes of a request that is known again
ROOM = 4 * 1024 * 1024  # bytes of all of them and their answers, about
_log = logging.getLogger(__name__)
LATE = 2000  # of one whose answers come later: what it was decided by is remembered nowhere else
_OVERHEAD = 1500  # of one, beside its bytes


class Shared:
    """One for each listener."""

    __slots__ = (
        "_again",
        "_taken",
        "addresses",
        "app",
        "backlog",
        "connections",
        "date",
        "date_line",
        "draining",
        "emptied",
        "heads",
        "limits",
        "loop",
    )

    def __init__(self, app: Application, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.loop = asyncio.get_running_loop()  # asking for it costs a system call, so it is asked for once
        self.connections: set[Connection] = set()  # each until its socket and its errand are both gone
        self.backlog = Backlog(limits.unsent)
        self.addresses = Addresses()  # of these connections
        self.draining = False
        self.date, self.date_line = "", b""  # the header line, set by the listener's sweep; and the same in bytes
        self.emptied = asyncio.Event()
        self._again: dict[bytes, tuple[Again, int]] = {}  # by the bytes of one whole request; and what it takes
        self._taken = 0
        self.heads = Heads(limits.body)

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

    def know(self, whole: bytes, answer: HttpResponse, more: int = 0) -> bool:
        """A request that comes in these bytes is answered by the answer's `again`, if they are few; whether they are.

        `more` bytes are taken for it that nobody else counts.
        """
        if answer.again is None or not 0 < len(whole) <= LONGEST:
            return False
        self._forget(whole)
        size = len(whole) + len(answer.body) + _OVERHEAD + more
        if self._taken + size > ROOM:  # what still comes is soon back
            self._again.clear()
            self._taken = 0
        self._again[whole] = answer.again, size
        self._taken += size
        return True

    def _forget(self, whole: bytes) -> None:
        known = self._again.pop(whole, None)
        if known is not None:
            self._taken -= known[1]

    def repeat(self, data: bytes, peer: str) -> bytes | Later | None:
        """The whole answer to one whole request, if it came before in these very bytes and may be answered so again.

        Who gets it later begins it, and then has it from `late`.
        """
        known = self._again.get(data)
        if known is None or self.draining:
            return None
        try:
            answer = known[0](peer, monotonic(), self.date_line)
        except Exception:  # noqa: BLE001 - whatever the application raises, the client gets an answer
            _log.exception("the application raised where it must answer")
            answer = None
        if answer is None:
            self._forget(data)
        return answer

    def late(self, whole: bytes, later: Later) -> bytes | None:
        """The same once it is known; of a port that is drained meanwhile each answer has to say so."""
        answer = None
        if not self.draining:
            try:
                answer = later.answer(self.date_line)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("the application raised where it must answer")
        if answer is None:
            self._forget(whole)
        return answer

    def gone(self, connection: Connection, peer: str) -> None:
        """The connection holds nothing any more."""
        self.connections.discard(connection)
        self.addresses.gone(peer)
        if self.draining and not self.connections:
            self.emptied.set()
