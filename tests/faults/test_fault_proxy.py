"""The fault proxy does what it says, and nothing where it is told nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.faults.fault_proxy import BLACK_HOLE, NONE, FaultProxy, Faults
from tests.features.conftest import until

SENT = bytes(range(256)) * 1024
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """One before a server that gives everything back, and ends its side when its client does."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = FaultProxy(server.sockets[0].getsockname()[1])
    await made.start()
    yield made
    await made.stop()
    assert 0 == made.connections
    server.close()


@pytest.fixture
async def connect(proxy: FaultProxy) -> AsyncIterator[Connect]:
    """Connections through it."""
    writers: list[asyncio.StreamWriter] = []

    async def made() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writers.append(writer)
        return reader, writer

    yield made
    for writer in writers:
        writer.transport.abort()


async def echoed(connect: Connect, sent: bytes = SENT) -> tuple[bytes, float]:
    """What comes back until the end, and how long that took."""
    began = asyncio.get_running_loop().time()
    reader, writer = await connect()
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        return await reader.read(), asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    "faults", [NONE, Faults(slices=7), Faults(latency=0.02), Faults(latency=0.01, jitter=0.02), Faults(bandwidth=20e6)]
)
async def test_slow_ways_lose_nothing(proxy: FaultProxy, connect: Connect, faults: Faults) -> None:
    """However slow, sliced or uneven, all bytes come in order, and then the end."""
    proxy.asks = proxy.answers = faults
    sent = SENT if faults.slices > 7 else SENT[:2000]
    found, took = await echoed(connect, sent)
    assert sent == found
    assert took >= 2 * faults.latency + len(sent) / faults.bandwidth - 0.005  # both ways at once, but for the latency


async def test_latency_delays_and_does_not_block(proxy: FaultProxy, connect: Connect) -> None:
    """Ten pieces sent 5 ms apart through 100 ms come 5 ms apart, not 100."""
    proxy.asks = Faults(latency=0.1)
    reader, writer = await connect()
    began = asyncio.get_running_loop().time()
    for number in range(10):
        writer.write(bytes([number]))
        await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        assert bytes(range(10)) == await reader.readexactly(10)
    assert 0.1 <= asyncio.get_running_loop().time() - began < 0.4


async def test_slices_are_small(proxy: FaultProxy, connect: Connect) -> None:
    """No read finds more than one slice of what came at once."""
    proxy.answers = Faults(slices=10, bandwidth=10_000)
    reader, writer = await connect()
    writer.write(SENT[:100])
    sizes: list[int] = []
    async with asyncio.timeout(5):
        while sum(sizes) < 100:
            sizes.append(len(await reader.read(100)))
    assert len(sizes) > 5


async def test_corruption_turns_single_bits(proxy: FaultProxy, connect: Connect) -> None:
    """One in each slice; the length stays."""
    proxy.answers = Faults(corruption=1.0, slices=100)
    found, _ = await echoed(connect, SENT[:1000])
    turned = sum((one ^ other).bit_count() for one, other in zip(found, SENT, strict=False))
    assert (1000, 10) == (len(found), turned)


async def test_a_reset_is_one(proxy: FaultProxy, connect: Connect) -> None:
    """After so many bytes; both ends hear of it, and nothing is left."""
    proxy.answers = Faults(reset_after=100)
    reader, writer = await connect()
    writer.write(SENT[:1000])
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1000)
    await until(lambda: 0 == proxy.connections)


async def test_a_half_close_leaves_the_other_way_open(proxy: FaultProxy, connect: Connect) -> None:
    """The client reads the end after 100 bytes, and may still write."""
    proxy.answers = Faults(half_close_after=100)
    reader, writer = await connect()
    writer.write(SENT[:1000])
    async with asyncio.timeout(5):
        assert SENT[:100] == await reader.read()
    assert 1 == proxy.connections
    writer.write(SENT[:1000])
    await writer.drain()
    assert 1 == proxy.connections


async def test_it_is_switched_while_it_runs(proxy: FaultProxy, connect: Connect) -> None:
    """One connection, with all that may happen to it: well, swallowed, well again, reset with all others, and away."""
    reader, writer = await connect()
    writer.write(b"1")
    async with asyncio.timeout(5):
        assert b"1" == await reader.readexactly(1)
        proxy.asks = BLACK_HOLE
        writer.write(b"2")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.02)
        proxy.asks = NONE
        writer.write(b"3")
        assert b"3" == await reader.readexactly(1)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await proxy.stop()
        with pytest.raises(ConnectionRefusedError):
            await connect()
        await proxy.start()
        assert b"again" == (await echoed(connect, b"again"))[0]


async def test_whoever_is_not_there_is_told_of_at_once() -> None:
    """A client of a proxy with nobody behind it is cut off."""
    proxy = FaultProxy(1)
    await proxy.start()
    reader, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    await proxy.stop()
