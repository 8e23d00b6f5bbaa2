"""Colour for people who look at a terminal; plain text for everybody else and for those who set NO_COLOR (no-color.org)."""

from __future__ import annotations

import os
from typing import TextIO


class Ink:
    """Paints words if the stream is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._wet = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def good(self, text: str) -> str:
        """What holds."""
        return self._painted(text, "32")

    def bad(self, text: str) -> str:
        """What does not."""
        return self._painted(text, "31")

    def strong(self, text: str) -> str:
        """What to look at first."""
        return self._painted(text, "1")

    def faint(self, text: str) -> str:
        """What can be skipped."""
        return self._painted(text, "2")

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._wet else text
