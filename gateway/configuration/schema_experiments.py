"""The parts of a policy document's A/B tests as frozen values: whom a rollout leaves alone, and what clients tell later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway.configuration.quantities import read_share
from gateway.configuration.readers import Name, one_of, read_number

OF = ("all", "told")


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exclusion group, and the part of its units that is this rollout's alone: from one share to another."""

    name: Name
    start: Annotated[float, read_share] = msgspec.field(name="from")
    end: Annotated[float, read_share] = msgspec.field(name="to")


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that clients tell later of a request, by its id: that it happened, a number, or a label."""

    metric: Name
    of: Annotated[str, one_of(OF)] = "all"
    low: Annotated[float, read_number] | None = None
    high: Annotated[float, read_number] | None = None
    labels: Mapping[Name, Annotated[float, read_number]] = msgspec.field(default_factory=dict)
