"""Heads of requests that somebody knows how to answer: by their bytes, or by these without the length of the body."""

from __future__ import annotations

from gateway.edge.gate import Framing
from gateway.edge.head import KNOWN, unsized
from gateway.edge.messages import Alike

MOST = 2048  # of each kind, of at most 1 KiB (gateway.edge.head), with some 10 KiB of what was decided by it: 43 MiB in all

Known = tuple[Framing, Alike]
Last = tuple[bytes, Framing, Alike]
"""The bytes of a head, and what is known of it."""


class Heads:
    """Of all connections of a listener. When there are too many all are forgotten: what still comes is soon back.

    None is known of a body that is longer than `most` bytes.
    """

    __slots__ = ("_most", "_sized", "_unsized")

    def __init__(self, most: int) -> None:
        self._most = most
        self._sized: dict[bytes, Known] = {}
        self._unsized: dict[bytes, Known] = {}

    def keep(self, block: bytes, framing: Framing, alike: Alike) -> None:
        """Requests with such a head, which says how long their body is, are answered by it, as long as it may."""
        if block[:5] in (b"", b"HEAD ") or framing.length <= 0 or framing.expects or not framing.plain:
            return
        key, heads = block, self._sized
        if not alike.sized:
            found = unsized(block)
            if found is None:
                return
            key, heads = found[0], self._unsized
        if len(heads) >= MOST:
            heads.clear()
        heads[key] = framing, alike

    def find(self, block: bytes) -> Known | None:
        """How such a head frames its body, and who answers it; None where nobody does."""
        found = self._sized.get(block)
        if found is not None or not self._unsized:
            return found
        size = unsized(block)
        if size is None or size[1] > self._most or (found := self._unsized.get(size[0])) is None:
            return None
        return found[0]._replace(length=size[1]), found[1]

    def whole(self, data: bytes, last: Last | None) -> Last | None:
        """The known head of bytes that are one whole request; None: it has to be read.

        `last` is that of the request before on its connection, and tried first: to compare bytes costs less than to look them up.
        """
        if last is None or not data.startswith(last[0]):
            block = data[: data.find(b"\r\n\r\n", 0, KNOWN) + 4]
            found = self.find(block)
            if found is None:
                return None
            last = block, *found
        return last if last[1].length == len(data) - len(last[0]) else None

    def knows(self, block: bytes) -> bool:
        """Whether anybody will answer such a head again; forgets who will not."""
        found = self.find(block)
        if found is None:
            return False
        if found[1].current():
            return True
        size = unsized(block)
        self._sized.pop(block, None)
        if size is not None:
            self._unsized.pop(size[0], None)
        return False
