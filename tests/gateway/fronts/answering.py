"""A backend over real sockets that answers what it is told to, and a whole gateway before it, but for its process."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import msgspec
import numpy as np

from gateway.compile import blueprint, compile_snapshot, lasting
from gateway.dataplane import Dataplane
from gateway.edge.limits import Limits
from gateway.edge.listener import HttpListener, listen
from gateway.edge.messages import Admitted, HttpResponse, RequestHead
from gateway.fronts.alike import Resumed
from gateway.fronts.exchange import Exchange
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.snapshot import Snapshot
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import RequestRecord
from routing.plan import Target
from tests.gateway.fronts.twins import Held

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


def answer(version: str, tensors: bytes, binary: bool, **more: object) -> bytes:
    """Row sums, in binary or in JSON, as Triton writes them."""
    sums = np.frombuffer(tensors, "<f4").reshape(-1, 2).sum(axis=1).astype("<f4")
    if not binary:
        told = {"name": "y", "datatype": "FP32", "shape": [len(sums)], "data": sums.tolist()}
        text = json.dumps(
            {"model_name": "fast", "model_version": version, "outputs": [told], **more}, separators=(",", ":")
        ).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
    entry = {"name": "y", "datatype": "FP32", "shape": [len(sums)], "parameters": {"binary_data_size": sums.nbytes}}
    said = {"model_name": "fast", "model_version": version, "outputs": [entry], **more}
    head = json.dumps(said, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s" % (
        len(head),
        len(head) + sums.nbytes,
        head + sums.tobytes(),
    )


def failure(status: int) -> bytes:
    """With Triton's kind of text."""
    text = b'{"error":"no row is like that"}'
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text)


def chunked(told: bytes) -> bytes:
    """The same answer in two chunks."""
    head, _, body = re.sub(rb"\r\nContent-Length: \d+", b"\r\nTransfer-Encoding: chunked", told).partition(b"\r\n\r\n")
    return head + b"\r\n\r\n7\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (body[:7], len(body) - 7, body[7:])


CLOSING = frozenset({"half", "closed", "last", "unframed"})  # words after which the connection ends


def said(word: str, told: bytes) -> bytes:
    """The answer as that word has it on the wire."""
    match word:
        case "half":
            return told[:-4]
        case "closed":
            return b""
        case "malformed":
            return b"HTTP/9 what\r\n\r\n"
        case "lying":
            return told.replace(b"Length: ", b"Length: 1", 1)
        case "twice":
            return told + told
        case "behind":
            return told + b"\0"
        case "interim":
            return b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + told
        case "chunked":
            return chunked(told)
        case "last":
            return told.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        case "unframed":
            return re.sub(rb"\r\nContent-Length: \d+", b"", told)
        case status if status.isdigit():
            return failure(int(status))
    return told


@dataclass
class Server:
    """Takes one word of `words` for each question, `ok` when there is none left. `seen`: heads and bodies of questions.

    ok, longer (another version), wide (with a long parameter), 400 to 504, half (cut in the middle), closed (before an answer),
    malformed, lying (a JSON head of another length), late (after `pause` seconds), hung (until it is let go), twice (the
    answer, and at once once more), behind (a byte too many), unasked (once more when `repeat` is told to), interim (after two
    of these), chunked, last (and then closed), unframed (until it is closed), crumbs (byte by byte).
    """

    words: deque[str] = field(default_factory=deque)
    seen: list[tuple[bytes, bytes]] = field(default_factory=list)
    pause: float = 0.15
    port: int = 0
    left: int = 0
    later: list[Callable[[], None]] = field(default_factory=list)
    ended: int = 0  # connections

    def repeat(self) -> None:
        """Says once more what nobody waits for."""
        later, self.later = self.later, []
        for say in later:
            say()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            pass  # its client left; uvloop says so with a RuntimeError
        finally:
            writer.transport.abort()
            self.ended += 1

    async def _answer(self, reader: Reader, writer: Writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"content-length"]))
        self.seen.append((head, body))
        tensors, binary = body[int(fields[b"inference-header-content-length"]) :], b"binary_data_output" in body
        told = answer("1", tensors, binary)
        word = self.words.popleft() if self.words else "ok"
        if word == "longer":
            told = answer("1234", tensors, binary)
        elif word == "wide":
            told = answer("1", tensors, binary, parameters={"wide": "1" * 1101})
        elif word == "late":
            await asyncio.sleep(self.pause)
        elif word == "hung":
            await reader.read(1)
            self.left += 1
            return False
        elif word == "unasked":
            self.later.append(partial(writer.write, told))
        elif word == "crumbs":
            for at in range(len(told) - 1):
                writer.write(told[at : at + 1])
                await writer.drain()
            told = told[-1:]
        writer.write(said(word, told))
        if word == "unframed":
            writer.write_eof()
        return word not in CLOSING


class Unknowing(Held):
    """Nobody's credential is known again, so that each request takes the long way."""

    def standing(self, headers: Any, principal: Any) -> Any:
        return None


class Admitting(HttpFront):
    """Counts the requests that it was asked to admit, and those that it took over."""

    admitted = resumed = 0

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        self.admitted += 1
        return super().admit(head)

    def resume(self, exchange: Exchange, body: bytes, resumed: Resumed) -> Awaitable[HttpResponse]:
        self.resumed += 1
        return super().resume(exchange, body, resumed)


class Whole:
    """A gateway on a port of its own, before `servers`."""

    def __init__(self, policy: str, servers: list[Server], doors: Held) -> None:
        self.servers, self.doors, self.metrics = servers, doors, Metrics()
        self.records: list[RequestRecord] = []
        self.signatures: dict[Target, Any] = {}
        self.lasting = lasting(time.monotonic)
        self.plane = Dataplane(self._compiled(policy, None), self.signatures)
        ids = count()
        parts = FrontParts(self.plane, doors, self._record, lambda: f"made-{next(ids)}", lambda: True, 1 << 16)
        self.front = Admitting(parts)
        self.listener: HttpListener

    def counted(self) -> list[str]:
        """What metrics say, but for times and what the process is; endpoints by their place."""
        lines = self.metrics.exposition().decode().splitlines()
        kept = [line for line in lines if ("seconds" not in line or "_count" in line) and not line.startswith(("process_", "# "))]
        return sorted(self.placed(line) for line in kept)

    def recorded(self) -> list[str]:
        """Every record, but for times and ids."""
        for record in self.records:
            assert record.overhead_seconds <= record.seconds
            record.seconds = record.overhead_seconds = record.backend_seconds = 0.0
            record.request_id = ""
        return [repr(record) for record in self.records]

    def seen(self) -> list[list[tuple[str, bytes]]]:
        """What each server was asked, but for ids."""
        found = []
        for server in self.servers:
            heads = [[line for line in head.decode().split("\r\n") if "x-request-id" not in line] for head, _ in server.seen]
            found.append([(self.placed("\n".join(head)), body) for head, (_, body) in zip(heads, server.seen, strict=True)])
        return found

    def placed(self, text: str) -> str:
        """Endpoints by their place, since their ports are chance."""
        for at, server in enumerate(self.servers):
            text = text.replace(f"127.0.0.1:{server.port}", f"endpoint {at}")
        return text

    def take(self, policy: str) -> None:
        """From now on it follows this policy."""
        self.plane.snapshot = self._compiled(policy, self.plane.snapshot)

    def _compiled(self, policy: str, before: Snapshot | None) -> Snapshot:
        text = policy.replace("ENDPOINTS", ", ".join(f'"127.0.0.1:{server.port}"' for server in self.servers))
        return compile_snapshot(blueprint(text.encode(), "p.yaml"), before, self.metrics, time.monotonic, self.lasting)

    def _record(self, record: RequestRecord) -> None:
        self.metrics.requested(record)
        self.records.append(msgspec.structs.replace(record, line=None))

    async def start(self) -> None:
        limits = Limits(sweep=0.02, linger_timeout=0.1)  # whoever is told to go stays, in these tests
        self.listener = await listen(self.front, "127.0.0.1", 0, limits)

    async def close(self) -> None:
        await self.listener.drain(0)
        await self.lasting.spawner.close()
        for cluster in self.plane.snapshot.clusters.values():
            await cluster.close()

    def held(self) -> list[int]:
        """What is in flight anywhere, which is nothing when nobody asks."""
        found = [len(self.listener._shared.connections)]
        for cluster in self.plane.snapshot.clusters.values():
            found += [cluster.in_flight, *(lane.in_flight for lane in cluster.places.lanes.values())]
            found += [count for each in cluster.endpoints for count in (each.in_flight, each.backend._pool.in_flight)]  # type: ignore[attr-defined]
            found.append(len(cluster.alarms._at))
        return found
