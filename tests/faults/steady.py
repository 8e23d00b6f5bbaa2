"""Clients that ask all the time and never repeat anything: over new connections, kept ones and gRPC channels."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.faults.crew import ASKED

OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
Ask = Callable[[], Awaitable[str]]


@dataclass
class Steady:
    """What they were told: how often which status or failure, and when each ended, by kind of client."""

    http: str
    grpc: str
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def count(self) -> int:
        """Of all requests."""
        return sum(self.told.values())

    @property
    def failed(self) -> dict[tuple[str, str], int]:
        """Those that had no good answer."""
        return {key: count for key, count in self.told.items() if key[1] not in ("200", "OK")}

    async def run(self, kinds: dict[str, int]) -> None:
        """So many clients of each kind, until it is over."""
        clients = {"new": self.anew, "kept": self.kept, "grpc": self.over_grpc}
        async with asyncio.TaskGroup() as group:
            for kind, count in kinds.items():
                for _ in range(count):
                    group.create_task(clients[kind]())

    async def anew(self) -> None:
        """One connection for each request."""
        while not self.over.is_set():
            await self.tell("new", self.post(None))

    async def kept(self) -> None:
        """One connection for as long as the gateway keeps it; it is not asked twice whether it does."""
        line: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        while not self.over.is_set():
            await self.tell("kept", self.post(line))
        for _, writer in line:
            writer.close()

    async def post(self, line: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] | None) -> str:
        """The status; `line` has the connection to use, and has it again afterwards if it may be used once more."""
        host, _, port = self.http.rpartition(":")
        reader, writer = line.pop() if line else await asyncio.open_connection(host, int(port))
        ended = b"" if line is not None else b"Connection: close\r\n"
        head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\n%sContent-Length: %d\r\n\r\n" % (ended, len(ASKED))
        kept = False
        try:
            writer.write(head + ASKED)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            kept = line is not None and b"connection: close" not in answer
            status = answer.split()[1].decode()
            return status if status == "200" else f"{status}: {body.decode()}"
        finally:
            if kept and line is not None:
                line.append((reader, writer))
            else:
                writer.close()

    async def over_grpc(self) -> None:
        """One channel, which sees to its connections itself."""
        request = service_pb2.ModelInferRequest(model_name="m")
        request.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
        async with grpc.aio.insecure_channel(self.grpc, OPTIONS) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def ask() -> str:
                await stub.ModelInfer(request, timeout=10)
                return "OK"

            while not self.over.is_set():
                await self.tell("grpc", ask())

    async def tell(self, kind: str, asked: Awaitable[str]) -> None:
        """Notes what came of a request."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(20):
                found = await asked
        except grpc.aio.AioRpcError as error:
            found = f"{error.code().name}: {error.details()}"
        except (OSError, EOFError, TimeoutError) as error:
            found = repr(error)
        self.told[kind, found] += 1
        self.seconds.setdefault(kind, []).append(time.monotonic() - begin)
        if found not in ("200", "OK"):
            await asyncio.sleep(0.01)  # else one who finds nobody counts by the thousand


@contextmanager
def steady(http: str, grpc_address: str, **kinds: int) -> Iterator[Steady]:
    """Lets them ask while the block lasts."""
    made: list[tuple[Steady, asyncio.AbstractEventLoop]] = []
    ready = threading.Event()

    async def main() -> None:
        made.append((Steady(http, grpc_address), asyncio.get_running_loop()))
        ready.set()
        await made[0][0].run(kinds)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    ready.wait()
    try:
        yield made[0][0]
    finally:
        with suppress(RuntimeError):
            made[0][1].call_soon_threadsafe(made[0][0].over.set)
        thread.join()
