"""What is to be expected of a cascade's next stage: how long it takes, and how many rows will need it. Told events and the time.

Nothing is known before there is enough to know it by, and what nobody has seen for a while is known no more: so a stage that was
slow once, and is skipped for it, is asked again by and by and may show that it has become quicker.
"""

from __future__ import annotations

from backends.latency import Latency
from routing.plan import Target

QUANTILE = 0.95  # of the latest answers' seconds
REMEMBERED = 10.0  # seconds after the last answer
ENOUGH = 20  # questions of a route
DECAY = 1 - 1 / 100  # of what they have shown, with each that follows


class Foresight:
    """Learns by target how long it takes, and by model, route and variant the share of the rows that goes up from there."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, str, str], _Pace] = {}
        self._shares: dict[tuple[str, str, str], _Share] = {}

    def took(self, target: Target, seconds: float, now: float) -> None:
        """The target had its answer after so long, or had none yet when time was up."""
        key = (target.backend, target.model, target.version)
        pace = self._paces.get(key)
        if pace is None or now - pace.heard > REMEMBERED:
            pace = self._paces[key] = _Pace()
        pace.heard = now
        pace.took(seconds)

    def usual(self, target: Target, now: float) -> float | None:
        """Seconds that were enough for QUANTILE of its latest answers; None while nobody knows."""
        pace = self._paces.get((target.backend, target.model, target.version))
        return None if pace is None or now - pace.heard > REMEMBERED else pace.quantile

    def went(self, key: tuple[str, str, str], rows: int, up: int) -> None:
        """Of a question's rows so many were not sure."""
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share()
        share.seen += 1
        share.rows = share.rows * DECAY + rows
        share.up = share.up * DECAY + up

    def share(self, key: tuple[str, str, str]) -> float | None:
        """Of its latest questions' rows, the share that went up; None while nobody knows."""
        share = self._shares.get(key)
        return None if share is None or share.seen < ENOUGH else share.up / share.rows


class _Pace(Latency):
    """When it was last heard of, too."""

    __slots__ = ("heard",)

    def __init__(self) -> None:
        super().__init__(QUANTILE)
        self.heard = 0.0


class _Share:
    """Sums over the latest questions."""

    __slots__ = ("rows", "seen", "up")

    def __init__(self) -> None:
        self.seen = 0
        self.rows = self.up = 0.0
