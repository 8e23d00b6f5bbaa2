"""The addresses of a host: looked up again every few seconds, and the last good ones kept while nobody can tell."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Addresses of a name, as text. Raises OSError, or UnicodeError for a name that DNS cannot hold."""
FRESH = 5.0  # seconds
PATIENCE = 0.5  # seconds for a lookup, where there are addresses from before


async def look_up(name: str) -> Sequence[str]:
    """What the system's resolver says, IPv4 and IPv6 in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Host:
    """One host, by name or address. An address is its own, and costs no lookup."""

    def __init__(self, name: str, lookup: Lookup = look_up, fresh: float = FRESH) -> None:
        self._name = name
        self._lookup = lookup
        self._fresh = fresh
        self._addresses: Sequence[str] = (name,) if _is_address(name) else ()
        self._fresh_until = 0.0 if not self._addresses else float("inf")
        self._turn = 0

    async def addresses(self) -> Sequence[str]:
        """All of them, beginning with another one each time. Raises OSError and UnicodeError where there never were any."""
        now = asyncio.get_running_loop().time()
        if now >= self._fresh_until:
            await self._refresh(now)
        if len(self._addresses) == 1:
            return self._addresses
        self._turn = (self._turn + 1) % len(self._addresses)
        return [*self._addresses[self._turn :], *self._addresses[: self._turn]]

    async def _refresh(self, now: float) -> None:
        known = self._addresses
        if known:
            self._fresh_until = now + self._fresh  # whoever comes meanwhile takes what there is
        try:
            async with asyncio.timeout(PATIENCE if known else None):
                found = await self._lookup(self._name)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            if not known:
                raise
        else:
            self._addresses = found or known
            self._fresh_until = now + self._fresh
        if not self._addresses:
            raise OSError(f"no address for {self._name}")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
