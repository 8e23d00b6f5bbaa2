"""Whether keeping a model's answers is worth what it costs: told the seconds that looking took and that hits saved, it decides.

    on --a window of questions saved less than it cost--> off for a while --over--> on, with the next window
       --else--> on, and the next `off` is as short as the first

Unique questions pay for a key, a look and a copy of their answer and gain nothing; users of caches for inference report traffic
that became slower for one. Each further window without gain doubles the while.
"""

from __future__ import annotations

WINDOW = 4096  # questions
AGAIN = 1024  # the same after a while off: a model that gained nothing before is tried with fewer
FIRST, LONGEST = 10.0, 600.0  # seconds off


class Worth:
    """Of one model, which is not looked up until `off_until` (seconds). Not thread-safe: one event loop's."""

    __slots__ = ("_looks", "_pause", "_saved", "_spent", "off_until")

    def __init__(self) -> None:
        self._looks = 0
        self._spent = self._saved = 0.0
        self.off_until = 0.0
        self._pause = FIRST

    def on(self, now: float) -> bool:
        """Whether to look."""
        return now >= self.off_until

    def spent(self, seconds: float) -> None:
        """What keeping an answer took."""
        self._spent += seconds

    def saved(self, seconds: float) -> None:
        """What the backend would have taken for what was found."""
        self._saved += seconds

    def looked(self, seconds: float, now: float, saved: float = 0.0) -> None:
        """One more question, whose key and look took so long, and saved so much; the last of a window decides."""
        self._spent += seconds
        self._saved += saved
        self._looks += 1
        if self._looks < (WINDOW if self._pause == FIRST else AGAIN):
            return
        if self._saved >= self._spent:
            self._pause = FIRST
        else:
            self.off_until = now + self._pause
            self._pause = min(LONGEST, 2 * self._pause)
        self._looks = 0
        self._spent = self._saved = 0.0
