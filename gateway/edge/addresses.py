"""Who holds how many connections: one count for each client address."""

from __future__ import annotations

from socket import AF_INET6, inet_pton


class Addresses:
    """Counts connections by IPv4 address or, because every IPv6 host has 2^64 of its own, by IPv6 /64 network."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str | bytes, int] = {}

    def come(self, peer: str) -> int:
        """One connection more; returns how many there are now from there."""
        key = _network(peer)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count

    def gone(self, peer: str) -> None:
        """One less."""
        key = _network(peer)
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]

    def __len__(self) -> int:
        return len(self._counts)


def _network(peer: str) -> str | bytes:
    return inet_pton(AF_INET6, peer.partition("%")[0])[:8] if ":" in peer else peer
