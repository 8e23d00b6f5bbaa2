"""Tells people who wait how far it is: on stderr, and no more often than they need."""

from __future__ import annotations

import sys
import time

SILENCE = 2.0  # seconds after which people who wait are told what for


class Progress:
    """Of one command, which begins now."""

    def __init__(self, command: str, silence: float = SILENCE) -> None:
        self._command = command
        self._silence = silence
        self._told = time.monotonic()

    def tell(self, far: str) -> None:
        """A line that says how far it is, if nothing was said for `silence` seconds."""
        now = time.monotonic()
        if now - self._told > self._silence:
            self._told = now
            print(f"{self._command}: {far}", file=sys.stderr)
