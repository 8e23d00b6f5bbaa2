"""How much may be asked once more: a share of what went well, so that trouble is never multiplied."""

from __future__ import annotations


class Budget:
    """Everything that is `earned` puts in `share`, every repetition takes out 1. It holds `most` and begins with a tenth of that.

    `most` is for the moment in which an endpoint dies with all that it held. So of n earned never more than `share` x n + `most`
    are asked again, in the long run the share, and nothing any more while nothing goes well.
    """

    __slots__ = ("_held", "_most", "_share")

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = most
        self._held = most / 10

    def earned(self) -> None:
        """One more."""
        held = self._held + self._share
        self._held = held if held < self._most else self._most

    def take(self) -> bool:
        """Whether one may be asked once more; if so, it is paid for."""
        if self._held < 1:
            return False
        self._held -= 1
        return True
