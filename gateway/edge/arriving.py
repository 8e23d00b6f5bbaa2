"""One body on its way: who waits for it, where it ends, and whether it comes fast enough."""

from __future__ import annotations

from gateway.edge.body import BodyReader, ChunkedBody, SizedBody
from gateway.edge.gate import CHUNKED
from gateway.edge.limits import Limits
from gateway.edge.messages import Admitted


class Arriving:
    """A body of so many bytes, or CHUNKED. With nobody `admitted` it is read only to find the request behind it."""

    __slots__ = ("_limits", "_mark", "_reader", "admitted")

    def __init__(self, length: int, admitted: Admitted | None, limits: Limits) -> None:
        self.admitted = admitted
        self._limits = limits
        most = limits.unread if admitted is None else limits.body
        self._reader: BodyReader = ChunkedBody(most, limits.chunks) if length == CHUNKED else SizedBody(length)
        self._mark = 0  # its bytes at the beginning of the window in which its rate is measured

    def take(self, piece: bytes) -> bytes | None:
        """What lies behind the body once it is whole, else None. Raises RefusedError."""
        return self._reader.take(piece)

    def whole(self) -> bytes:
        """The body, for whoever was admitted."""
        return self._reader.whole()

    def slow(self, lasted: float) -> bool:
        """Whether less than the rate came in this window, which lasted so many seconds; if not, another one begins."""
        came, self._mark = self._reader.received - self._mark, self._reader.received
        return came < self._limits.body_rate * lasted
