"""Two gateways that are asked the same, of which one remembers nothing: what they say, count and record must not differ."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf
from typing import Any

import msgspec
import numpy as np

from backends.deadline import Deadline
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.signature import Signature
from backends.tensors import from_array
from gateway.compile import Blueprint, compile_snapshot, lasting
from gateway.dataplane import Dataplane
from gateway.edge import reply
from gateway.edge.messages import Again, HttpResponse, Later, RequestHead
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.fronts.repeats import Place, Repeat, Repeats
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import RequestRecord
from policies.call import Kept
from policies.local_store import LocalStore
from routing.cache.key import Keys
from routing.plan import Target
from routing.principal import Principal
from tests.gateway.fronts.conftest import Doors

TENSOR = np.arange(4, dtype="<f4").reshape(2, 2)


def body(number: int, binary: bool, **more: Any) -> tuple[bytes, str | None]:
    """A question about two rows, and its header's length."""
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [2, 2]}
    tensor = TENSOR + number
    if not binary:
        return json.dumps({"inputs": [{**entry, "data": tensor.ravel().tolist()}], **more}).encode(), None
    head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": 16}}], **more}).encode()
    return head + tensor.tobytes(), str(len(head))


@dataclass(frozen=True)
class Asked:
    """One request. `version` stands in its path; `waited`: seconds since its first byte."""

    content: tuple[bytes, str | None]
    who: str = "ann"
    model: str = "digits"
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    waited: float = 0.0


class Telling:
    """A backend whose answer says all that it was asked, row by row, and how often the same was asked."""

    def __init__(self) -> None:
        self.turns = count()

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        (x,) = request.payload.tensors()
        said = repr((request.model, request.version, sorted(request.parameters.items())))
        known = int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "little")
        told = np.stack([x.array().sum(axis=1), np.full(len(x.array()), known), np.full(len(x.array()), next(self.turns))], 1)
        return InferenceResponse(request.model, "1", "", {}, Tensors((from_array("y", "FP64", told),)))


@dataclass
class Lasting:
    """As gateway.auth.authenticator.Standing."""

    doors: Held
    name: str
    principal: Principal

    def holds(self, now: float) -> bool:
        return self.doors.held.get(self.name) is self.principal and now < self.doors.ends.get(self.name, inf)


class Held(Doors):
    """Knows a credential again, as the real one: the principal is the same object until it is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Principal] = {}
        self.ends: dict[str, float] = {}  # wall seconds, of credentials that do

    def check(self, headers: Mapping[str, str], now_wall: float, peer: str = "") -> Principal:
        name = headers.get("authorization", "")
        if name not in self.held:
            self.held[name] = super().check(headers, now_wall, peer)
        return self.held[name]

    def standing(self, headers: Mapping[str, str], principal: Principal) -> Any:
        """Until the principal is forgotten."""
        name = headers.get("authorization", "")
        return Lasting(self, name, principal) if self.held.get(name) is principal else None


class Forgetful(Repeats):
    """The long way, each time."""

    def find(self, at: Place) -> Repeat | None:
        return None


class Elsewhere(LocalStore):
    """Whoever looks waits for a turn of the loop, in which `meanwhile` happens once; nothing lies nearer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(1 << 20, clock)
        self.meanwhile: Callable[[], object] | None = None
        self.reached = True
        self.happened = False

    def happen(self) -> None:
        """What was to happen meanwhile."""
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            self.happened = True
            happens()

    def find(self, keys: Sequence[bytes]) -> Looking:  # type: ignore[override]
        return Looking(self, keys)

    def same(self, kept: Kept, generation: bytes) -> StillThere | None:  # type: ignore[override]
        return StillThere(self, kept) if generation == self.generation else None


class Looking:
    """Looks when it is awaited, and not before."""

    def __init__(self, store: Elsewhere, keys: Sequence[bytes]) -> None:
        self._store, self._keys = store, keys

    def __await__(self) -> Generator[Any, None, list[Kept | None]]:
        yield from asyncio.sleep(0).__await__()
        self._store.happen()
        return [self._store.nearest(key) for key in self._keys]


class StillThere:
    """Implements policies.keeping.Same."""

    seconds = 0.05

    def __init__(self, store: Elsewhere, kept: Kept) -> None:
        self._store, self._kept, self._generation = store, kept, store.generation

    def open(self) -> bool:
        return self._store.reached and self.holds()

    def holds(self) -> bool:
        return self._store.generation == self._generation

    def ask(self, heard: Callable[[bool], None]) -> None:
        def said() -> None:
            self._store.happen()
            heard(self._store.reached and self._store.nearest(self._kept.key) is self._kept)

        asyncio.get_running_loop().call_soon(said)


class Gateway:
    """A front over a data plane of its own, on a clock that can be set forward by `later` seconds."""

    def __init__(self, repeats: Repeats, policy: Blueprint, afar: bool = False) -> None:
        self.later = 0.0
        self.doors, self.backend, self.metrics = Held(), Telling(), Metrics()
        self.served: tuple[str, ...] = ()
        self.signatures: dict[Target, Signature] = {}
        self.records: list[RequestRecord] = []
        self.keys = Keys(b"k" * 32, lambda _: self.served)
        self.elsewhere = Elsewhere(self.clock)
        self.lasting = replace(lasting(self.clock), keys=self.keys)
        if afar:
            self.lasting = replace(self.lasting, store=self.elsewhere)
        self.plane = Dataplane(compile_snapshot(policy, None, self.metrics, self.clock, self.lasting), self.signatures)
        self.take(policy)
        ids = count()
        self.front = HttpFront(FrontParts(self.plane, self.doors, self._record, lambda: f"{next(ids)}", lambda: True, 1 << 16))
        self.front._clock = self.clock
        self.front._repeats = repeats
        self.at_once = False  # whether the last answer took the short way
        self.unread = False  # whether it was given to the bytes alone
        self.known: dict[Any, Again] = {}  # as the edge knows requests by their bytes

    def clock(self) -> float:
        return time.monotonic() + self.later

    def _record(self, record: RequestRecord) -> None:
        self.metrics.requested(record)
        self.records.append(msgspec.structs.replace(record, line=None))

    def take(self, policy: Blueprint) -> None:
        """From now on it follows this policy."""
        self.plane.snapshot = compile_snapshot(policy, self.plane.snapshot, self.metrics, self.clock, self.lasting)
        for endpoint in self.plane.snapshot.clusters["triton"].endpoints:
            endpoint.backend = self.backend  # type: ignore[assignment]

    async def answer(self, asked: Asked) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers in their order but for times, and body."""
        content, length = asked.content
        headers = {"authorization": asked.who, **asked.headers}
        if length is not None:
            headers["inference-header-content-length"] = length
        path = f"/v2/models/{asked.model}{'/versions/' + asked.version if asked.version else ''}/infer"
        received = (asyncio.get_running_loop().time() if asked.waited else self.clock()) - asked.waited
        whole = (path, tuple(headers.items()), content)
        again = self.known.pop(whole, None)
        raw = None if again is None else again("", received, b"")
        if raw is not None and not isinstance(raw, bytes):
            raw = await late(raw)
        self.unread = raw is not None
        if raw is None:
            verdict = self.front.admit(RequestHead("POST", path, "", headers, "", received))
            found = verdict if isinstance(verdict, HttpResponse) else verdict(content)
            self.at_once = found is not verdict and isinstance(found, HttpResponse)
            response = found if isinstance(found, HttpResponse) else await found
            again, raw = response.again, b"".join((reply.head(response, len(response.body), ""), response.body))
        if again is not None:
            self.known[whole] = again
        head, _, told = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = [line.partition(": ")[::2] for line in lines]
        return int(first.split()[1]), [(name, _timeless(name, value)) for name, value in fields], told

    def counted(self) -> list[str]:
        """What metrics say, but for times and what the process is."""
        lines = self.metrics.exposition().decode().splitlines()
        kept = [line for line in lines if ("seconds" not in line or "_count" in line) and not line.startswith(("process_", "# "))]
        return sorted(kept)

    def recorded(self) -> list[str]:
        """Every record, but for times."""
        found = []
        for record in self.records:
            record.seconds = record.overhead_seconds = record.backend_seconds = 0.0
            found.append(repr(record))
        return found

    async def close(self) -> None:
        """Ends what it does in the background."""
        await self.lasting.spawner.close()


async def late(later: Later) -> bytes | None:
    """As the edge waits."""
    known = asyncio.Event()
    later.begin(known.set)
    await known.wait()
    return later.answer(b"")


def _timeless(name: str, value: str) -> str:
    if name == "server-timing" or name.startswith("ratelimit"):
        return "".join(letter for letter in value if not letter.isdigit())
    return value.partition("; ttl")[0] if name == "cache-status" else value
