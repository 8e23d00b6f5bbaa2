"""The policy document's caches as frozen values: which models' answers are kept, and how long."""

from __future__ import annotations

import msgspec

from gateway.configuration.readers import Duration, Name, Timeout


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model's answers are kept."""

    ttl: Timeout
    rows: bool = False
    shared: bool = False
    stale_while_revalidate: Duration = 0.0
    stale_if_error: Duration = 0.0
    tag: Name | None = None
    force: bool = False
