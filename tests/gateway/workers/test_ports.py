"""Ports that are kept, and found taken."""

from __future__ import annotations

import contextlib
import socket

import pytest

from gateway.configuration.readers import Address
from gateway.workers.ports import close, reserve


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


def test_every_place_has_sockets_of_its_own() -> None:
    """All on one port, on which they may listen together; connections wait in the queue of one of them."""
    address, kept = reserve(Address("127.0.0.1", 0), 3)
    for (each,) in kept:
        each.listen(100)
        each.setblocking(False)
    clients = [socket.create_connection((address.host, address.port)) for _ in range(30)]
    dealt = 0
    for (each,) in kept:
        before = dealt
        with contextlib.suppress(BlockingIOError):
            while True:
                each.accept()[0].close()
                dealt += 1
        assert before < dealt
    assert 30 == dealt
    for client in clients:
        client.close()
    close(kept)


def test_a_shared_port_is_no_port_in_use() -> None:
    """For others of the same user who share it; who would not share it is refused, whoever came first."""
    address, kept = reserve(Address("127.0.0.1", 0), shared=True)
    kept[0][0].listen()
    close(reserve(address, 2, shared=True)[1])
    with pytest.raises(OSError, match="in use"):
        reserve(address)
    close(kept)
    _, kept = reserve(address)
    kept[0][0].listen()
    close(kept)


def test_every_address_of_a_name_is_kept_on_one_port() -> None:
    """So `localhost` is the same port in both families, where there are two."""
    _, kept = reserve(Address("localhost", 0))
    assert 1 == len({each.getsockname()[1] for place in kept for each in place})
    close(kept)


def test_a_port_that_listens_is_in_use_even_if_it_would_be_shared() -> None:
    """Another gateway's workers share with one another, not with ours."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            reserve(Address(*other.getsockname()))
