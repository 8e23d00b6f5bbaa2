"""What the processes of a gateway tell whoever keeps its A/B tests."""

from __future__ import annotations

from typing import Protocol

import msgspec

from routing.principal import Principal
from routing.rollout.feedback import Value


class Given(msgspec.Struct, frozen=True, array_like=True):
    """What a client tells of a request. `owner`: whose client, who is told of nobody else's requests."""

    owner: str
    request: str
    metric: str
    value: Value


class Asked(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request that was counted in a rollout: whose it was, where its unit stands, and the weight that it was drawn with."""

    request: str
    owner: str
    place: float
    weight: float


class Noted(msgspec.Struct, frozen=True):
    """The requests of one attempt since it was last told."""

    attempt: str
    asked: list[Asked]


class Gathered(msgspec.Struct, frozen=True):
    """All that one process has since it was last asked. `lost`: requests for which there was no room."""

    noted: list[Noted]
    given: list[Given]
    lost: int = 0


def owner(principal: Principal) -> str:
    """Whose requests these are: the tenant's, or where there is none, the subject's own."""
    return f"t/{principal.tenant}" if principal.tenant else f"s/{principal.subject}"


class Hear(msgspec.Struct, frozen=True, tag=True):
    """What a gateway tells the others of its store: `parcel` for whoever answered, and by test what it has added up.

    `last`: the number of the last parcel that it has heard; "" for none.
    """

    name: str
    last: str = ""
    parcel: bytes = b""
    counts: list[tuple[str, bytes]] = []


class Heard(msgspec.Struct, frozen=True):
    """The others' parcels since, and for each test that was told what the others have added up."""

    last: str
    parcels: list[bytes]
    counts: list[list[bytes]]


class Hearsay(Protocol):
    """The way to the other gateways of a store."""

    async def hear(self, told: Hear) -> Heard | None:
        """Tells, and what there is to hear; None where the store does not answer, and nobody knows whether it was told."""
        ...
