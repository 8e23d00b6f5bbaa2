"""When to start a worker again that has died: soon, but ever later while it keeps dying.

Theory: the n-th death in a row waits FIRST · 2^(n-1), at most LONGEST; who lived for STEADY begins anew. A chance crash costs
a tenth of a second of one worker, a worker that cannot run costs one start every LONGEST seconds.
"""

from __future__ import annotations

FIRST = 0.1
LONGEST = 10.0
STEADY = 60.0


class Restarts:
    """The deaths of one worker's place in a row."""

    def __init__(self) -> None:
        self._deaths = 0

    def died(self, lived: float) -> float:
        """Seconds to wait before the next start, of a worker that lived for so many."""
        self._deaths = 1 if lived >= STEADY else self._deaths + 1
        return float(min(LONGEST, FIRST * 2 ** min(self._deaths - 1, 30)))
