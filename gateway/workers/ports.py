"""Ports that several processes share: the parent reserves them, and every worker opens them beside the others.

Each worker has listening sockets of its own (SO_REUSEPORT), and the kernel deals new connections out among them. The parent
only keeps the addresses: a socket that is bound but does not listen gets no connections, and holds the port even while no
worker lives. It is bound alone, so that a port in use is noticed, and set to share only then.
"""

from __future__ import annotations

import socket

from gateway.configuration.readers import Address


def reserve(address: Address) -> tuple[Address, list[socket.socket]]:
    """The address, with the port that was found where it says 0, and the sockets that keep it. Raises OSError if it is in use."""
    port, kept = address.port or _free(address.host), list[socket.socket]()
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            kept.append(held := socket.socket(family, kind, protocol))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else connections that are over keep it for a minute
            if family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            held.bind((where[0], port, *where[2:]))
            held.listen(0)  # only this finds those out who have bound it, too, and do not listen yet
            held.shutdown(socket.SHUT_RDWR)  # which leaves it bound, as the port was asked for by number
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        for held in kept:
            held.close()
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error
    return Address(address.host, port), kept


def _free(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        port: int = found.getsockname()[1]
        return port
