"""What the policy says of auditing a cascade, as a value."""

from __future__ import annotations

import msgspec


class Audit(msgspec.Struct, frozen=True, gc=False):
    """A share of the rows that were sure is asked of the dearest stage as well; 0 to 1."""

    share: float
