"""Answers a request whose very bytes were answered by a shortcut before: nothing of it needs to be read to know who asks what."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.auth.authenticator import Standing
from gateway.dialects.reply import told_again
from gateway.edge import reply
from gateway.edge.messages import Again
from gateway.fronts.exchange import Exchange
from gateway.fronts.parts import FrontParts
from gateway.fronts.shortcut import Shortcut
from gateway.snapshot import PASSING

Clock = Callable[[], float]


class Verbatim:
    """What one request needs to be answered like the one before it, which had the same bytes and took the shortcut.

    Equal bytes are an equal head and body: the same caller, by the same credential, asks the same question of the same model, so
    that what the shortcut compares is the same. What may change by itself is asked again: whether the credential still holds, and
    all that the shortcut asks (Shortcut.left); the door of a model with a cache is never shut. The record is that of the request
    before, which has been told by then; whoever is told keeps no record.
    """

    __slots__ = (
        "_baseline", "_before", "_behind", "_between", "_clock", "_holds", "_left", "_new_id", "_plane", "_record", "_tell",
    )  # fmt: skip

    def __init__(self, parts: FrontParts, clock: Clock, shortcut: Shortcut, exchange: Exchange, standing: Standing) -> None:
        self._plane, self._tell, self._new_id = parts.plane, parts.record, parts.new_id
        self._clock, self._holds = clock, standing.holds
        self._left, self._record, self._baseline = shortcut.left, exchange.record, exchange.baseline
        self._before, self._between, self._behind = reply.parts(shortcut.lines, shortcut.body)

    def answer(self, peer: str, received: float, date: bytes) -> bytes | None:
        """Implements gateway.edge.messages.Again."""
        if not self._holds(time.time()):
            return None
        left = self._left(self._plane, received, self._clock())
        if left is None:
            return None
        record = self._record
        seconds = self._clock() - received
        record.request_id = self._new_id()
        record.peer = peer
        if self._baseline is not None:
            record.baseline = self._baseline(max(1, record.rows))
        record.seconds = record.overhead_seconds = seconds if seconds > 0.0 else 0.0
        self._tell(record)
        own = told_again(record.request_id, seconds, left).encode()
        return b"".join((self._before, own, self._between, date, self._behind))


def verbatim(parts: FrontParts, clock: Clock, shortcut: Shortcut, exchange: Exchange) -> Again | None:
    """For requests of the same bytes as the exchange's, which has just been answered by the shortcut and told.

    None where each has headers of its own, so that they will hardly come.
    """
    if not PASSING.isdisjoint(exchange.headers):
        return None
    standing = parts.authenticator.standing(exchange.headers, exchange.principal)
    return None if standing is None else Verbatim(parts, clock, shortcut, exchange, standing).answer
