"""Ports that are kept, found taken, and shared."""

from __future__ import annotations

import asyncio
import socket

import grpc.aio
import pytest

from gateway.configuration.readers import Address
from gateway.edge.grpc import GrpcLimits
from gateway.workers.ports import SharingLoop, listen_grpc, reserve


def close(kept: list[socket.socket]) -> None:
    for each in kept:
        each.close()


def test_a_port_is_found_and_kept() -> None:
    """Nobody else can have it, and nobody is connected by it."""
    address, kept = reserve(Address("127.0.0.1", 0))
    assert address.port
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{address.port}: Address already in use"):
        reserve(address)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))
    close(kept)
    close(reserve(address)[1])


def test_every_address_of_a_name_is_kept_on_one_port() -> None:
    """So `localhost` is the same port in both families, where there are two."""
    _, kept = reserve(Address("localhost", 0))
    assert 1 == len({each.getsockname()[1] for each in kept})
    close(kept)


def test_a_port_that_listens_is_in_use_even_if_it_would_be_shared() -> None:
    """Another gateway's workers share with one another, not with ours."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            reserve(Address(*other.getsockname()))


def test_servers_of_a_sharing_loop_are_on_one_port() -> None:
    """Two on the port that is reserved, each with its part of the connections."""
    address, kept = reserve(Address("127.0.0.1", 0))
    taken, all_taken = [0, 0], asyncio.Event()

    class Counting(asyncio.Protocol):
        def __init__(self, number: int) -> None:
            taken[number] += 1
            if sum(taken) == 64:
                all_taken.set()

    async def both() -> None:
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(lambda n=number: Counting(n), address.host, address.port)  # type: ignore[misc]
            for number in range(2)
        ]
        writers = [(await asyncio.open_connection(address.host, address.port))[1] for _ in range(64)]
        await all_taken.wait()
        for writer in writers:
            writer.close()
        for server in servers:
            server.close()

    with asyncio.Runner(loop_factory=SharingLoop) as runner:
        runner.run(both())
    assert min(taken) > 8
    close(kept)


async def test_grpc_servers_share_a_port() -> None:
    """Two on the port that is reserved; one that is not ours to share is an OSError."""
    address, kept = reserve(Address("127.0.0.1", 0))
    app = object()  # asked by nobody
    first = await listen_grpc(app, address.host, address.port, GrpcLimits())  # type: ignore[arg-type]
    second = await listen_grpc(app, address.host, address.port, GrpcLimits())  # type: ignore[arg-type]
    assert (address.port, address.port) == (first.port, second.port)
    async with grpc.aio.insecure_channel(str(address)) as channel:
        await asyncio.wait_for(channel.channel_ready(), 5)
    await asyncio.gather(first.drain(0), second.drain(0))
    close(kept)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="cannot listen"):
            await listen_grpc(app, "127.0.0.1", other.getsockname()[1], GrpcLimits())  # type: ignore[arg-type]
