"""What the processes of a gateway tell whoever keeps its A/B tests."""

from __future__ import annotations

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
