"""Who is asking, once their credential has been verified."""

from __future__ import annotations

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
