"""Who is asking, once their credential has been verified."""

from __future__ import annotations

from typing import Protocol

import msgspec

INFER = "models:infer"  # the scope of whoever may ask every model

FEEDBACK = "models:feedback"  # of whoever may tell later what came of their requests

PRIORITY = "models:priority"  # of whoever's X-Priority may put questions before those of others


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A verified caller. Policies trust these words; nothing else from the client may stand in for them."""

    subject: str
    tenant: str = ""
    tier: str = ""
    scopes: frozenset[str] = frozenset()


ANONYMOUS = Principal(subject="anonymous", scopes=frozenset({INFER}))


class Sparing(Protocol):
    """What the policy says of something that is done beside requests, of whom it excepts."""

    @property
    def tenants(self) -> frozenset[str]:
        """Whose requests it leaves alone."""
        ...

    @property
    def tiers(self) -> frozenset[str]:
        """The same."""
        ...


def spared(by: Sparing, principal: Principal) -> bool:
    """Whether the caller's requests are left alone."""
    return principal.tenant in by.tenants or principal.tier in by.tiers
