"""What a client is told of the cache: Cache-Status, as RFC 9211 has it."""

from __future__ import annotations

import math

from policies.call import Cached

Headers = tuple[tuple[str, str], ...]
# Why a question went on to a backend (RFC 9211 section 2.2).
_FORWARDED = {"miss": "miss", "partial": "partial", "request": "request", "bypass": "bypass", "off": "bypass"}


def hit(ttl: float) -> str:
    """Of an answer that is kept: the seconds until it is not fresh any more."""
    return f"penstock; hit; ttl={math.floor(ttl)}"


def cache_headers(cached: Cached | None) -> Headers:
    """Nothing where the model has no cache. `ttl` is negative for an answer whose time is over (section 2.4)."""
    if cached is None:
        return ()
    if cached.ttl is not None:
        said = hit(cached.ttl)
    else:
        said = f"penstock; fwd={_FORWARDED[cached.status]}"
    stored, collapsed = "; stored" if cached.stored else "", "; collapsed" if cached.collapsed else ""
    detail = f'; detail="{cached.detail}"' if cached.detail else ""
    return (("cache-status", f"{said}{stored}{collapsed}{detail}"),)
