"""Keeps questions away from somebody who keeps failing, and lets a single one through to find out when that is over.

After Nygard, Release It! (2007), with a third ending. An attempt that was let in ends ok, failed or abandoned; the last says
nothing about the other side, and one that was the probe gives its permit back, or the breaker would stay half-open for ever.
Attempts let in before it opened may end at any time later: only the probe's ending counts then. Told the time, never asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from backends.rules import Ejection


class State(Enum):
    """What a breaker lets in: everything, nothing, one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Event(Enum):
    """What may change a state; in HALF_OPEN the endings are the probe's."""

    TRIPPED = "failed as often as it may, one after the other"
    RESTED = "its time is over, or a check found the other side well"
    OK = "answered"
    FAILED = "failed"
    ABANDONED = "nobody waited for the answer"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.RESTED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.OK): State.CLOSED,
    (State.HALF_OPEN, Event.FAILED): State.OPEN,
    (State.HALF_OPEN, Event.ABANDONED): State.HALF_OPEN,
}


class Breaker:
    """One breaker. Whoever was let in tells how it ended, and whether it was the probe."""

    __slots__ = ("_ejection", "_until", "failures", "probing", "state")

    def __init__(self, ejection: Ejection) -> None:
        self._ejection = ejection
        self._until = 0.0
        self.state = State.CLOSED
        self.failures = 0  # one after the other, while closed
        self.probing = False

    @property
    def untouched(self) -> bool:
        """Closed, and nothing against it."""
        return self.state is State.CLOSED and not self.failures

    def admits(self, now: float) -> bool:
        """Whether `enter` would let an attempt in."""
        match self.state:
            case State.CLOSED:
                return True
            case State.OPEN:
                return now >= self._until
            case State.HALF_OPEN:
                return not self.probing

    def enter(self, now: float) -> bool:
        """Lets an attempt in where `admits` says so; whether it is the probe."""
        if self.state is State.OPEN:
            self._take(Event.RESTED, now)
        self.probing = self.state is State.HALF_OPEN
        return self.probing

    def rested(self, now: float) -> None:
        """Somebody else found the other side well: the next attempt is the probe."""
        if self.state is State.OPEN:
            self._take(Event.RESTED, now)

    def ended(self, event: Event, probe: bool, now: float) -> None:
        """An attempt ended: OK, FAILED or ABANDONED."""
        if probe:
            self.probing = False
            self._take(event, now)
        elif self.state is State.CLOSED and event is Event.OK:
            self.failures = 0
        elif self.state is State.CLOSED and event is Event.FAILED:
            self.failures += 1
            if self.failures >= self._ejection.failures:
                self._take(Event.TRIPPED, now)

    def _take(self, event: Event, now: float) -> None:
        self.state = TRANSITIONS[self.state, event]
        if self.state is State.OPEN:
            self.failures = 0
            self._until = now + self._ejection.open
