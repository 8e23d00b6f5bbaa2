"""Ports that are kept, and found taken."""

from __future__ import annotations

import socket

import pytest

from gateway.configuration.readers import Address
from gateway.workers.ports import reserve


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
