"""Throttles attempts with credentials that do not hold: told so at most so often, by address and by the key's public id.

Verifying comes first, always: a key can only be known as good by verifying it, and a good one must not suffer from what others
try, be it under its own id or from its own address, which behind a load balancer is everybody's. So nobody is ever locked out;
what is throttled is what those learn who fail. A key's secret has 256 bits: no rate of guessing matters, and a failure costs
hardly more than a refusal without a look would (10 µs of some 50). What the throttle gives: whoever tries many keys learns
nothing of most of them, and shows in the log, told apart from a client that has made one mistake.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from socket import AF_INET6, inet_pton

from backends.errors import ErrorKind, InferenceError
from routing.buckets import Buckets
from routing.demand import Demand

BURST = 20  # failures of one address or key id that are told at once
INTERVAL = 1.0  # seconds for each further one
SIZE = 4096  # addresses, and as many key ids, that are remembered
LOG_SECONDS = 60.0  # between two lines of the log about it
# What a guess looks like. The others (expired, another audience, an unknown key) happen to honest clients, which must hear it.
GUESSES = frozenset({"bad-api-key", "bad-token"})

_log = logging.getLogger(__name__)


class FailedAttempts:
    """Counts failures by address and by key id; the longest unused is forgotten when there is no room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, size: int = SIZE) -> None:
        self._clock = clock
        self._addresses, self._ids = Buckets(size), Buckets(size)
        self._log_after = clock()

    def __len__(self) -> int:
        return len(self._addresses) + len(self._ids)

    def told(self, refusal: InferenceError, peer: str, key_id: str = "") -> InferenceError:
        """The refusal itself, or a 429 in its place when there were too many; `peer` is an address, with a port or without."""
        if refusal.reason not in GUESSES:
            return refusal
        now = self._clock()
        by_address = _wait(self._addresses, _network(peer), now)
        by_id = _wait(self._ids, key_id, now) if key_id else 0.0
        wait = max(by_address, by_id)
        if not wait:
            return refusal
        if now >= self._log_after:
            self._log_after = now + LOG_SECONDS
            about = f"key id {key_id}" if by_id else f"address {peer}"
            _log.warning("too many credentials that do not hold are tried, now with %s; they get a 429, good ones do not", about)
        return InferenceError(
            ErrorKind.LIMITED,
            "too many attempts with credentials that do not hold, from your address or with this key's id: "
            "correct the credential; one that holds is never refused for this",
            source="client",
            reason="failed-attempts",
            retry_after=wait,
        )


def _wait(buckets: Buckets, name: str, now: float) -> float:
    """0.0 if one more fits, which is taken then; else the seconds until one would."""
    return buckets.take((Demand(name, "requests", 1, 1 / INTERVAL, BURST),), now).retry_after


def _network(peer: str) -> str:
    """The address without its port; of IPv6 the /64 network, because every host has 2^64 addresses of its own."""
    address = peer[1:].partition("]")[0] if peer.startswith("[") else peer.partition(":")[0] if peer.count(":") == 1 else peer
    if ":" not in address:
        return address
    try:
        return inet_pton(AF_INET6, address.partition("%")[0])[:8].hex()
    except OSError:
        return address
