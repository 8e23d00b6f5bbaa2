"""The policy document's audit of a cascade as frozen values: which share of what it keeps is looked at, and what is promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway.configuration.quantities import Rate, read_rate, read_share
from gateway.configuration.readers import Count, Timeout, one_of
from gateway.configuration.schema_shadows import Compare, Except

ON_ALARM = ("report", "dear")


class Audit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the rows that the cascade keeps is asked of its last stage as well, and held against it."""

    share: Annotated[float, read_share]
    promise: Annotated[float, read_share] = 0.99
    on_alarm: Annotated[str, one_of(ON_ALARM)] = "report"
    label: str | None = None
    compare: Mapping[str, Compare] = msgspec.field(default_factory=dict)
    timeout: Timeout | None = None
    max_in_flight: Count = 8
    queue: Count = 32
    budget: Annotated[Rate, read_rate] | None = None
    spared: Except | None = msgspec.field(default=None, name="except")
