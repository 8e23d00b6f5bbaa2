"""A TCP proxy that spoils what passes through it, as it is told while it runs; HTTP, gRPC and Redis are all bytes to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

PIECE = 64 * 1024  # bytes read at once
_HELD = 256  # pieces on their way in one direction; then the sender has to wait
_NO_LINGER = struct.pack("ii", 1, 0)  # closing is a reset then (socket(7), SO_LINGER)


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to the bytes of one direction, in each connection for itself; seconds and bytes.

    `latency`: each piece comes so much later, and by a random part of `jitter` more, always in order. `slices`: pieces have so
    many bytes at most. `corruption`: the chance of a piece to have one bit turned. `black_hole`: all is taken and nothing passed
    on, the end neither. `reset_after`, `half_close_after`: so many bytes pass, then the connection is reset, or this way ended.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = inf
    slices: int = PIECE
    corruption: float = 0.0
    black_hole: bool = False
    reset_after: float = inf
    half_close_after: float = inf


NONE = Faults()
BLACK_HOLE = Faults(black_hole=True)


class FaultProxy:
    """Before one address. `asks` is what happens to what clients send, `answers` to what comes back: set them at any time."""

    def __init__(self, port: int, host: str = "127.0.0.1", seed: int = 1) -> None:
        self.asks = self.answers = NONE
        self.port = 0
        self.behind = host, port
        self._chance = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def connections(self) -> int:
        """Of clients, as long as one direction is open."""
        return len(self._serving)

    async def start(self) -> None:
        """Listens, on a port of its own that stays the same when it is started again."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listens no more and resets everything."""
        self._server.close()
        serving = tuple(self._serving)
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def reset(self) -> None:
        """Every connection that is open now."""
        for writer in self._writers:
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None, "asyncio serves each connection in a task"
        self._serving.add(serving)
        with contextlib.suppress(asyncio.CancelledError):  # by `stop`; asyncio would log it
            await self._carry(reader, writer)
        self._serving.discard(serving)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = [writer]
        try:
            answers, asks = await asyncio.open_connection(*self.behind)
            pair.append(asks)
            self._writers.update(pair)
            async with asyncio.TaskGroup() as group:
                group.create_task(_Lane(reader, asks, lambda: self.asks, self._chance).carry())
                group.create_task(_Lane(answers, writer, lambda: self.answers, self._chance).carry())
        except* OSError:  # one of them hung up, or was made to
            for each in pair:
                _reset(each)
        finally:
            self._writers.difference_update(pair)
            for each in pair:
                each.transport.abort()


class _Lane:
    """One direction of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Callable[[], Faults], chance: random.Random
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._chance = chance
        self._room = asyncio.Queue[tuple[float, bytes]](_HELD)
        self._passed = 0

    async def carry(self) -> None:
        """Until its end. Raises OSError where the connection is to be reset."""
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(self._take())
            await self._give()
            taking.cancel()

    async def _take(self) -> None:
        """Reads, and notes when each piece is due: what comes late delays nobody's reading."""
        loop = asyncio.get_running_loop()
        due, piece = 0.0, b"begin"
        while piece:
            piece = await self._reader.read(PIECE)
            faults = self._faults()
            due = max(due, loop.time() + faults.latency + faults.jitter * self._chance.random())
            await self._room.put((due, piece))

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await self._room.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece and not self._faults().black_hole:
                break
            for part in self._slices(piece):
                faults = self._faults()
                if not faults.black_hole and not await self._write(part, faults):
                    return
        self._end()

    async def _write(self, part: bytes, faults: Faults) -> bool:
        """Whether the direction goes on. Raises ConnectionResetError where the connection does not."""
        last = min(faults.reset_after, faults.half_close_after)
        part = part[: int(max(0, min(last - self._passed, len(part))))]
        self._writer.write(self._spoiled(part, faults))
        await self._writer.drain()
        self._passed += len(part)
        await asyncio.sleep(len(part) / faults.bandwidth)  # also of 0: each slice goes out for itself
        if self._passed < last:
            return True
        if faults.reset_after <= faults.half_close_after:
            raise ConnectionResetError
        self._end()
        return False

    def _end(self) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write_eof()

    def _slices(self, piece: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(piece):
            size = self._faults().slices
            yield piece[at : at + size]
            at += size

    def _spoiled(self, part: bytes, faults: Faults) -> bytes:
        if not part or self._chance.random() >= faults.corruption:
            return part
        at = self._chance.randrange(len(part))
        return part[:at] + bytes((part[at] ^ 1 << self._chance.randrange(8),)) + part[at + 1 :]


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
