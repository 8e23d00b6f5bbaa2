"""A backend's DNS name over gRPC: looked up again when its server moves, and the last good address kept while DNS is silent."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.triton_grpc import TritonGrpc
from tests.faults.figures import LONG, Figures
from tests.real_parts import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not LONG, reason="waits for grpc's own clocks: part of `make faults`")]

MOVED = 6.0  # seconds until questions go to the new address: lookups are 5 s apart


class Names(asyncio.DatagramProtocol):
    """A DNS server that knows one address for every name, or says nothing (RFC 1035, section 4)."""

    def __init__(self) -> None:
        self.address = ""
        self.asked = 0
        self._transport: Any

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        if not self.address:
            return
        end = data.index(b"\0", 12) + 5  # the name, its type and its class
        (kind,) = struct.unpack_from(">H", data, end - 4)
        answers = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + bytes(map(int, self.address.split(".")))] if kind == 1 else []
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(answers), 0, 0)
        self._transport.sendto(head + data[12:end] + b"".join(answers), addr)


class Ready(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # published without types
    """A server that is ready, and knows how often it said so."""

    def __init__(self) -> None:
        self.asked = 0

    async def ServerReady(self, asked: Any, rpc: Any) -> Any:  # noqa: N802 - the protocol's name
        self.asked += 1
        return service_pb2.ServerReadyResponse(ready=True)


async def serving(address: str, port: int) -> tuple[Ready, grpc.aio.Server]:
    """A server at this address."""
    server, ready = grpc.aio.server(options=[("grpc.so_reuseport", 0)]), Ready()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(ready, server)
    server.add_insecure_port(f"{address}:{port}")
    await server.start()
    return ready, server


@pytest.fixture
async def names() -> AsyncIterator[tuple[Names, int]]:
    """The DNS server and its port."""
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(Names, ("127.0.0.1", 0))
    yield made, transport.get_extra_info("sockname")[1]
    transport.close()


async def asked(backend: TritonGrpc, ready: Ready, seconds: float) -> float:
    """Seconds until that server answers."""
    began = time.monotonic()
    while not ready.asked:
        assert time.monotonic() - began < seconds
        with suppress(InferenceError):
            await backend.ready("", "", Deadline(asyncio.get_running_loop().time() + 0.5))
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def test_a_name_over_grpc(names: tuple[Names, int], figures: Figures) -> None:
    """Its server moves to another address: found there. DNS goes silent and connections break: found again."""
    dns, dns_port = names
    (port,) = free_ports(1)
    dns.address = "127.0.0.1"
    first, server = await serving(dns.address, port)
    backend = TritonGrpc("backend.test", port, "triton")
    backend._address = f"dns://127.0.0.1:{dns_port}/backend.test:{port}"  # as ever, but for whom it asks
    await asked(backend, first, 5)
    dns.address = "127.0.0.2"
    second, other = await serving(dns.address, port)
    await server.stop(None)
    figures.within("Endpoints", "a moved DNS name found over gRPC", await asked(backend, second, 30), MOVED)
    dns.address, second.asked = "", 0
    await other.stop(None)
    third, again = await serving("127.0.0.2", port)
    await asked(backend, third, 10)
    await backend.close()
    await again.stop(None)
