"""Fronts over a fake data plane: what they answer, and the records that they leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest

from gateway.auth.authenticator import Authenticator
from gateway.auth.refusals import key_unknown
from gateway.dataplane import Dataplane
from gateway.fronts.parts import FrontParts
from gateway.telemetry.record import RequestRecord
from routing.principal import Principal

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake
    from tests.gateway.fronts.pairs import Pair, Start


class Doors(Authenticator):
    """Lets in whoever says a name; a name not seen before is believed at the second try, like a token of a new key."""

    def __init__(self) -> None:
        super().__init__(anonymous=True)
        self.new: set[str] = set()
        self.peers: list[str] = []
        self.begun = False

    def check(self, headers: Mapping[str, str], now_wall: float, peer: str = "") -> Principal:
        name = headers.get("authorization", "")
        self.peers.append(peer)
        if name in self.new:
            raise key_unknown(self)
        if name:
            return Principal(
                name, tenant="acme", scopes=frozenset({f"models:infer:{name}" if name == "other" else "models:infer"})
            )
        return super().check(headers, now_wall)

    empty = False

    def may_learn(self) -> bool:
        return True

    def begin(self) -> bool:
        self.begun = True
        return True

    async def learn(self) -> bool:
        self.new.clear()
        return True


@dataclass
class Front:
    """The parts of a front, and what it told."""

    fake: Fake
    doors: Doors = field(default_factory=Doors)
    records: list[RequestRecord] = field(default_factory=list)
    is_ready: bool = True

    def parts(self) -> FrontParts:
        ids = count(1)
        plane = Dataplane(self.fake.snapshot(), {})
        return FrontParts(plane, self.doors, self.records.append, lambda: f"id-{next(ids)}", lambda: self.is_ready, 1 << 16)


@pytest.fixture
def front(fake: Fake) -> Front:
    """What a front is made of."""
    return Front(fake)


@pytest.fixture
async def pair() -> AsyncIterator[Start]:
    """Starts pairs, and ends them with the test."""
    from tests.gateway.fronts.pairs import POLICY, Pair

    started: list[Pair] = []

    async def start(endpoints: int = 1, policy: str = POLICY, clients: int = 1) -> Pair:
        started.append(await Pair(endpoints, policy).start(clients))
        return started[-1]

    yield start
    for each in started:
        await each.close()
