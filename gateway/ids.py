"""Names requests that come without a name of their own."""

from __future__ import annotations

import itertools
import secrets


class Ids:
    """Request ids: a random prefix of this process and a number, which costs less than randomness for each."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"
