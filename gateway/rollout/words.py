"""What the leader of a gateway's rollouts and the processes that serve tell each other."""

from __future__ import annotations

from typing import Literal

import msgspec

from routing.rollout.rollout import State
from routing.rollout.tally import Batch

Fitness = Literal["", "waiting", "fit", "unfit"]


class Order(msgspec.Struct, frozen=True):
    """How a rollout stands. `definition` is what it was made of: a process whose policy says otherwise leaves it alone."""

    model: str
    stable: str
    definition: str
    attempt: str
    state: State
    weight: float


class Told(msgspec.Struct, frozen=True):
    """What a process counted of an attempt since it last told, and while it is warming, whether the candidate is fit, and why
    not."""

    model: str
    stable: str
    attempt: str
    batch: Batch
    fitness: Fitness = ""
    text: str = ""
