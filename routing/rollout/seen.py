"""Remembers which sticky units have shown their side, so that each of them counts once and the coin stays fair.

A sticky unit is the candidate's if its place (0 to 1, the same for ever) lies below the weight. Its first event is a fair coin of
that weight. All later ones are no news: a client that retries a hundred times would be a hundred coins of which ninety-nine are
known. But when the weight has grown, a unit that was seen on the stable side stands anywhere above the old weight with equal
chances, so that it is a coin again: of the chance (new - old) / (1 - old). One that was the candidate's stays so.
"""

from __future__ import annotations

from collections.abc import Mapping

MOST = 65_536  # units: about 7 MB, 1 MB when stored


class Seen:
    """Of one metric. When it is full, new units do not count: not to bet is always fair, if the reason lies in the past."""

    def __init__(self, known: Mapping[float, float] | None = None, most: int = MOST) -> None:
        self._known = dict(known or {})
        self._most = most

    def __len__(self) -> int:
        return len(self._known)

    @property
    def known(self) -> Mapping[float, float]:
        """Places, and below which weight the unit is known not to be; 1 for the candidate's."""
        return self._known

    def learn(self, place: float, known: float) -> None:
        """What others have seen of a unit; who knows more of it goes on knowing that."""
        self._known[place] = max(known, self._known.get(place, 0.0))

    def forget(self, place: float, before: float | None) -> None:
        """What was seen of a unit did not come to count: it is as `before`, None for nothing."""
        if before is None:
            self._known.pop(place, None)
        else:
            self._known[place] = before

    def knows(self, place: float, weight: float) -> bool:
        """Whether its side at this weight is known, or will never count."""
        known = self._known.get(place)
        return len(self._known) >= self._most if known is None else known >= weight

    def coin(self, place: float, weight: float) -> float:
        """The chance with which the unit was the candidate's, as far as was known until now; 0 where there is nothing to bet on.

        It is known from now on.
        """
        known = self._known.get(place)
        if known is None:
            if len(self._known) >= self._most:
                return 0.0
            known = 0.0
        elif known >= weight:
            return 0.0
        self._known[place] = 1.0 if place < weight else weight
        return (weight - known) / (1 - known)
