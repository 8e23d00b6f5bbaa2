"""Two hundred tenants repeat their requests over connections that they share, while everything changes: nobody has another's
answer, one from before a purge, or one by a credential or a policy that holds no more."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import pytest

from backends.deadline import Deadline
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.tensors import from_array
from gateway.auth.authenticator import Authenticator, Remembered, Standing
from gateway.auth.refusals import refused
from gateway.edge.limits import Limits
from gateway.edge.listener import HttpListener, listen
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.fronts.repeats import Repeats
from gateway.telemetry.record import RequestRecord
from routing.cache.caching import Purge
from routing.principal import Principal
from tests.faults.figures import LONG, Figures
from tests.gateway.fronts.test_shortcut import DEAR, STEADY
from tests.gateway.fronts.twins import Gateway

TENANTS, QUESTIONS = 200, 4
OPERATIONS = 100_000 if LONG else 8_000
AT_ONCE = 8
VARIANTS = ("fast", "dear")
USED = {STEADY.version: "fast", DEAR.version: "dear"}


class Doors(Authenticator):
    """Knows tenants by number, and each again, until all must show themselves anew. `barred` are let in no more."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.barred, self.asked = Remembered(), set[int](), 0

    def check(self, headers: Mapping[str, str], now_wall: float, peer: str = "") -> Principal:
        self.asked += 1
        name = headers["authorization"]
        found = self.held.get(name.encode(), now_wall)
        if found is None:
            if int(name) in self.barred:
                raise refused("barred", "barred")
            found = Principal(name, name, scopes=frozenset({"models:infer"}))
            self.held.keep(name.encode(), found, float("inf"))
        return found

    def standing(self, headers: Mapping[str, str], principal: Principal) -> Standing | None:
        return self.held.standing(headers["authorization"].encode(), principal)


class Telling:
    """Answers whose question it was, which it was, what answered, and how many were asked before."""

    def __init__(self) -> None:
        self.turn = 0

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        self.turn += 1
        (x,) = request.payload.tensors()
        told = [[int(request.unit), int(x.array()[0, 0]), VARIANTS.index(request.model), self.turn]]
        await asyncio.sleep(0)
        return InferenceResponse(request.model, "1", "", {}, Tensors((from_array("y", "INT64", np.array(told)),)))


@dataclass(frozen=True)
class Asked:
    """One request, and what was so when it was sent. `id`: its own, or ""."""

    tenant: int
    question: int
    id: str
    changes: int
    policy: str
    least: int
    barred: bool

    @property
    def whole(self) -> bytes:
        """In bytes, the same each time."""
        entry = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [self.question]}
        body = json.dumps({"inputs": [entry]}).encode()
        own = f"X-Request-Id: {self.id}\r\n" if self.id else ""
        head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: g\r\nAuthorization: {self.tenant}\r\n{own}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Crowd:
    """Asks at random; everything that is wrong is noted. `afar`: what is kept lies in a store that must be asked."""

    afar: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    answered: int = 0
    wrong: list[tuple[str, Asked, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    changes: int = 0
    least: int = 0  # the first turn of the backend that was not purged

    def __post_init__(self) -> None:
        self.gateway, self.doors, self.backend = Gateway(Repeats(), STEADY, self.afar), Doors(), Telling()
        self.gateway.backend = self.backend  # type: ignore[assignment]
        self.policy = STEADY
        self.gateway.take(self.policy)
        self.records: list[str] = []
        numbers = count()
        parts = FrontParts(self.gateway.plane, self.doors, self._record, lambda: f"own-{next(numbers)}", lambda: True, 1 << 16)
        self.front = HttpFront(parts)
        self.listener: HttpListener

    def _record(self, record: RequestRecord) -> None:
        self.records.append(f"{record.request_id} {record.subject} {record.code}")

    def change(self) -> None:
        """Something is another from now on, for every request that is sent after it."""
        self.changes += 1
        what = self.chance.random()
        if what < 0.3:
            self.gateway.lasting.store.purge(Purge(model="digits"), self.gateway.clock())
            self.least = self.backend.turn + 1
        elif what < 0.6:
            self.policy = DEAR if self.policy is STEADY else STEADY
            self.gateway.take(self.policy)
        else:
            self.doors.barred = {self.tenant()} if self.chance.random() < 0.3 else set()
            self.doors.held.clear()

    def tenant(self) -> int:
        return int(TENANTS * self.chance.random() ** 24)

    def asked(self) -> Asked:
        tenant = self.tenant()
        own = f"c{self.chance.randrange(1 << 60)}" if self.chance.random() < 0.05 else ""
        question = int(QUESTIONS * self.chance.random() ** 10)
        return Asked(tenant, question, own, self.changes, self.policy.version, self.least, tenant in self.doors.barred)

    def judge(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """What comes must be this question's; what was so when it was sent and when it was answered must be so in it."""
        self.answered += 1
        name = headers["x-request-id"]
        if name in self.ids or (asked.id and name != asked.id):
            self.wrong.append(("id", asked, name))
        self.ids.add(name)
        still = asked.changes == self.changes
        if status == 401:
            if still and not asked.barred:
                self.wrong.append(("refused", asked, status))
            return
        if still and asked.barred:
            self.wrong.append(("barred", asked, status))
        (told,) = json.loads(body)["outputs"]
        tenant, question, variant, turn = told["data"]
        policy = headers["x-penstock-policy"]
        if (asked.tenant, asked.question) != (tenant, question):
            self.wrong.append(("crossed", asked, told))
        if VARIANTS[variant] != USED[policy] or (still and policy != asked.policy):
            self.wrong.append(("policy", asked, (told, policy)))
        if turn < asked.least:
            self.wrong.append(("purged", asked, told))

    async def client(self, operations: int) -> None:
        """One connection after another, each for requests of many."""
        reader = writer = None
        for _ in range(operations):
            if self.chance.random() < 0.004:
                self.change()
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
            several = [self.asked() for _ in range(2 if self.chance.random() < 0.05 else 1)]
            sent = b"".join(asked.whole for asked in several)
            cut = self.chance.randrange(len(sent)) if self.chance.random() < 0.05 else 0
            writer.write(sent[:cut] or sent)
            if self.chance.random() < 0.02:
                writer.transport.abort()
                reader = writer = None
                continue
            if cut:
                await asyncio.sleep(0)
                writer.write(sent[cut:])
            for asked in several:
                await self._one(reader, asked)
        if writer is not None:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, asked: Asked) -> None:
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await reader.readexactly(int(headers["content-length"]))
        self.judge(asked, int(head[0].split()[1]), headers, body)

    async def run(self, operations: int) -> None:
        self.listener = await listen(self.front, "127.0.0.1", 0, Limits())
        await asyncio.gather(*(self.client(operations // AT_ONCE) for _ in range(AT_ONCE)))
        await self.listener.drain(1.0)
        await self.gateway.close()


@pytest.mark.slow
@pytest.mark.parametrize("afar", [False, True])
async def test_no_answer_crosses_on_the_wire(figures: Figures, afar: bool) -> None:
    """Of all answers, many of which nobody has read the request of."""
    crowd = Crowd(afar)
    await crowd.run(OPERATIONS)
    where = ", afar" if afar else ""
    what = f"answers in the same bytes crossed between {TENANTS} tenants{where}"
    figures.none_of("Cache", what, len(crowd.wrong), crowd.answered)
    assert [] == crowd.wrong[:3]
    assert len(crowd.records) == len(set(crowd.records)) >= crowd.answered
    assert crowd.doors.asked < 0.9 * crowd.answered
    assert crowd.changes > OPERATIONS / 500
