"""What whoever judges a gateway's audits and the processes that serve tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from routing.cascade.watch import Seen


class Order(msgspec.Struct, frozen=True):
    """Whether the dearest stage answers a route alone. `epoch`: by what the cascade was audited; a process whose policy says
    otherwise leaves it alone."""

    model: str
    route: str
    epoch: str
    fallen: bool


class Told(msgspec.Struct, frozen=True):
    """What a process saw of one cascade since it last told: audited requests in order, all drawn ones by outcome, their cost."""

    model: str
    route: str
    epoch: str
    seen: Sequence[Seen]
    outcomes: Mapping[str, int]
    cost: float
