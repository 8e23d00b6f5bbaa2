"""Asks the store whether one answer that was read there is there still, without reading it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.store import answer_scripts
from gateway.store.connection import ANSWER_SECONDS, packed
from gateway.store.link import Link
from gateway.store.orders import Orders
from gateway.store.scripts import digest
from gateway.store.trouble import StoreError
from policies.call import Kept
from policies.local_store import LocalStore

_SAME = digest(answer_scripts.SAME)


class Observer(Protocol):
    """As gateway.store.answers has it."""

    def stored(self, outcome: str, seconds: float) -> None: ...

    def shared(self, outcome: str, count: int) -> None: ...


class Around(NamedTuple):
    """What one gateway's shared answers are made of."""

    link: Link
    near: LocalStore
    orders: Orders
    observer: Observer
    clock: Callable[[], float]


class Same:
    """Implements policies.keeping.Same, for an answer that was found under the purges that are known now.

    Redis compares: the answer's seal, and the stamp of the purges, each with what they were when the answer was read. So it is
    the answer that was read, which no purge has been about since, here or anywhere; and what is over is not there any more.
    """

    __slots__ = ("_around", "_command", "_generation", "_key")

    seconds = ANSWER_SECONDS

    def __init__(self, kept: Kept, around: Around) -> None:
        self._around, self._key, self._generation = around, kept.key, around.orders.generation
        names = (answer_scripts.STATE, answer_scripts.stored(kept.key))
        self._command = packed("EVALSHA", _SAME, 2, *names, around.orders.stamp, kept.seal)

    def open(self) -> bool:
        """Whether it can be asked for, has not been thrown away here, and nothing lies nearer."""
        around = self._around
        return around.link.connection is not None and self.holds() and around.near.nearest(self._key) is None

    def holds(self) -> bool:
        """Whether nothing was thrown away since it was read, as far as is known here."""
        return self._around.orders.generation == self._generation

    def ask(self, heard: Callable[[bool], None]) -> None:
        """Asks Redis."""
        around, asked = self._around, self._around.clock()
        connection, observer = around.link.connection, around.observer
        if connection is None:
            heard(False)
            return

        def answered(answer: object) -> None:
            if isinstance(answer, StoreError):
                observer.stored(answer.reason, around.clock() - asked)
                connection.fail(answer)
            else:
                observer.stored("ok", around.clock() - asked)
            if answer == 1:
                observer.shared("found", 1)
            heard(answer == 1)

        connection.send(self._command, answered)
