"""Names requests that come without a name of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count


def request_ids() -> Callable[[], str]:
    """Makes them: a random prefix of this process and a number, which costs less than randomness for each."""
    return map(f"{secrets.token_hex(8)}-{{:x}}".format, count(1)).__next__  # no Python runs for one
