"""Which kept answers an operator throws away, as the admin API is told it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration.schema_policy import Model
from routing.cache.caching import Purge

Heard = bool | None
"""Whether other gateways hear of a purge, within a second: True; not until the store is back: False; None: they share nothing."""


class Order(msgspec.Struct, frozen=True, gc=False):
    """A purge with a name: several workers are told it, and it is done once."""

    which: Purge
    name: str


class PurgeBody(Purge, frozen=True, gc=False, forbid_unknown_fields=True):
    """Which answers are thrown away: all that is said must hold; nothing said is everything."""

    def __str__(self) -> str:
        """As it stands in the audit log."""
        said = [f"{name} {value}" for name, value in msgspec.structs.asdict(self).items() if value]
        return f"answers of {', '.join(said)}" if said else "all answers"

    def unknown(self, models: Mapping[str, Model]) -> str:
        """What of it the policy has not; "" if it may mean something."""
        if self.model and self.model not in models:
            return f"model {self.model}"
        meant = [models[self.model]] if self.model else list(models.values())
        if self.variant and not any(self.variant in each.variants for each in meant):
            return f"variant {self.variant}"
        tags = {each.cache.tag for each in meant if each.cache is not None}
        return f"tag {self.tag}" if self.tag and self.tag not in tags else ""
