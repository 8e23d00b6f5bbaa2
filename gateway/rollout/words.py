"""What leader, processes and, where several gateways share a store, the store tell each other about rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from routing.rollout.rollout import Rollout, State
from routing.rollout.tally import Batch

Fitness = Literal["", "waiting", "fit", "unfit"]
Key = tuple[str, str]  # model, stable


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


class Later(msgspec.Struct, frozen=True):
    """What a client told of a request of an attempt: whether the guard's event happened to it. `place`: its unit's."""

    attempt: str
    metric: str
    place: float
    weight: float
    happened: bool


class Presence(msgspec.Struct, frozen=True):
    """What one gateway, all its processes together, finds of an attempt: is the candidate fit, what have shadows found?"""

    definition: str
    attempt: str
    fitness: Fitness = ""
    text: str = ""
    mirror: str = ""


class Page(msgspec.Struct, frozen=True):
    """A rollout as gateways share it. `applied`: by gateway, the number of its last counts that are in it."""

    definition: str
    rollout: Rollout
    applied: Mapping[str, int] = {}


class Look(msgspec.Struct, frozen=True, tag=True):
    """A gateway's question for the page of `key`, of which it knows a version, and units up to `offset` of their bytes.

    `present` is its Presence.
    """

    key: str
    name: str
    present: bytes
    line: str = ""
    version: int = 0
    offset: int = 0


class There(msgspec.Struct, frozen=True):
    """The answer. `moment`: the store's clock, seconds since 1970. `line`: "" where there is no page; else of one `line` each
    version follows from the one before. `page` is "" where the asker knows it. `units`: beyond the offset, or from the
    beginning where it is 0. `gateways`: who was here within the last seconds."""

    moment: float
    line: str = ""
    version: int = 0
    page: bytes = b""
    offset: int = 0
    units: bytes = b""
    gateways: Mapping[str, bytes] = {}


class Write(msgspec.Struct, frozen=True, tag=True):
    """Puts a page in the place of the one with `before` (line and version), and nothing if another is there.

    `units` are added to those of the page, or with another `line` are all there are.
    """

    key: str
    before: tuple[str, int]
    line: str
    version: int
    page: bytes
    units: bytes


class Pages(Protocol):
    """Where gateways share what they have come to."""

    async def look(self, look: Look) -> There | None:
        """What is there; None where the store does not answer."""
        ...

    async def write(self, write: Write) -> bool | None:
        """Whether it is there now; None where the store did not answer, and nobody knows."""
        ...
