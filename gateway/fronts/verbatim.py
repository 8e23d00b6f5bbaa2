"""Answers a request whose very bytes were answered from what is kept: nothing of it needs to be read to know who asks what.

What lies in memory is answered at once. What lies in a store further away only is answered when the store has said that it still
is what the answer was written from; meanwhile there is neither a task nor a coroutine, and all that was written stays here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.auth.authenticator import Standing
from gateway.dialects.reply import told_again
from gateway.edge import reply
from gateway.edge.messages import Again, Later
from gateway.fronts.exchange import Exchange
from gateway.fronts.parts import FrontParts
from gateway.fronts.shortcut import Shortcut
from gateway.snapshot import PASSING
from gateway.telemetry.record import RequestRecord
from policies.call import Afar

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
        return None if left is None else self.written(peer, received, left, date)

    def written(self, peer: str, received: float, left: float, date: bytes) -> bytes:
        """The answer, which is fresh for so many seconds; its record is told."""
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


class Distant(Verbatim):
    """The same of an answer that lies further away only: all is asked that the shortcut asks, before the store and after it."""

    __slots__ = ("_afar", "_leaving", "_stands")

    def __init__(self, parts: FrontParts, clock: Clock, shortcut: Shortcut, exchange: Exchange, standing: Standing) -> None:
        super().__init__(parts, clock, shortcut, exchange, standing)
        assert shortcut.afar is not None
        self._afar: Afar = shortcut.afar
        self._stands, self._leaving = shortcut.stands, parts.leaving
        shortcut.body, shortcut.lines = b"", ""  # nobody else has it, and what is written of them is here

    def later(self, peer: str, received: float, date: bytes) -> Later | None:
        """Implements gateway.edge.messages.Again. Whoever has less time than the store may take goes the long way, which ends in
        time."""
        now = self._clock()
        if not self.stands(received, now + self._afar.seconds) or not self._afar.open():
            return None
        return _Asked(self, self._afar, peer, received, now)

    def stands(self, received: float, now: float) -> bool:
        """Whether nothing but what is kept can have changed, and there is time."""
        return self._holds(time.time()) and self._stands(self._plane, received, now)

    def confirmed(self, asked: _Asked, date: bytes) -> bytes | None:
        """The answer, once the store has said that it is kept."""
        if not self.stands(asked.received, self._clock()):
            return None
        left = self._afar.fresh(asked.since)
        return None if left is None else self.written(asked.peer, asked.received, left, date)

    def left(self, asked: _Asked) -> None:
        """Tells the record of a client that left meanwhile: what was planned, and that it had no answer."""
        was = self._record
        record = RequestRecord(self._new_id(), was.method, was.path, asked.peer, model=was.model, route=was.route, code="499")
        record.reason = "draining" if self._leaving() else "client-left"
        record.policy, record.cascade, record.rows, record.bytes_in = was.policy, was.cascade, was.rows, was.bytes_in
        record.subject, record.tenant = was.subject, was.tenant
        record.seconds = max(0.0, self._clock() - asked.received)
        self._tell(record)


class _Asked:
    """One such request while the store is asked. Implements gateway.edge.messages.Later."""

    __slots__ = ("_afar", "_distant", "_known", "_same", "peer", "received", "since")

    def __init__(self, distant: Distant, afar: Afar, peer: str, received: float, since: float) -> None:
        self._distant, self._afar = distant, afar
        self._known: Callable[[], None] | None = None
        self._same = False
        self.peer, self.received, self.since = peer, received, since

    def begin(self, known: Callable[[], None]) -> None:
        self._known = known
        self._afar.ask(self._heard)

    def answer(self, date: bytes) -> bytes | None:
        return self._distant.confirmed(self, date) if self._same else None

    def cancel(self) -> None:
        known, self._known = self._known, None
        if known is not None:
            self._distant.left(self)
            known()

    def _heard(self, same: bool) -> None:
        known, self._known = self._known, None
        if known is not None:
            self._same = same
            known()


def verbatim(parts: FrontParts, clock: Clock, shortcut: Shortcut, exchange: Exchange) -> Again | None:
    """For requests of the same bytes as the exchange's, which has just been answered by the shortcut and told, or will be told
    in this turn of the loop with what the shortcut was made of.

    None where each has headers of its own, so that they will hardly come.
    """
    if not PASSING.isdisjoint(exchange.headers):
        return None
    standing = parts.authenticator.standing(exchange.headers, exchange.principal)
    if standing is None:
        return None
    if shortcut.afar is not None:
        return Distant(parts, clock, shortcut, exchange, standing).later
    return Verbatim(parts, clock, shortcut, exchange, standing).answer
