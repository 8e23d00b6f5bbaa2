"""Ports that several processes share: the parent reserves them, and every worker listens on them beside the others.

The kernel deals new connections out among the sockets that listen on a port (SO_REUSEPORT). For HTTP the parent makes one for
each worker's place and hands it down, so that its queue outlives the worker: whoever is in it is served by the next. A worker's
gRPC library takes no socket from us and opens its own; for it the parent only keeps the address: a socket that is bound but does
not listen gets no connections, and holds the port even while no worker lives. The first of a port is bound alone, so that a port
in use is noticed, and set to share only then.
"""

from __future__ import annotations

import socket

from gateway.configuration.readers import Address

Sockets = list[socket.socket]  # of one port, one for each address that its host's name has


def reserve(address: Address, places: int = 1, shared: bool = False) -> tuple[Address, list[Sockets]]:
    """The address, with the port that was found where it says 0, and bound sockets for so many places.

    Raises OSError if it is in use; one that is `shared` may be, by others of this user who share it, too.
    """
    port, made = address.port or _free(address.host), [Sockets() for _ in range(places)]
    try:
        found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for number, place in enumerate(made):
            for family, kind, protocol, _, where in found:
                place.append(bound := socket.socket(family, kind, protocol))
                _bind(bound, (where[0], port, *where[2:]), alone=not (number or shared))
    except OSError as error:
        close(made)
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error
    return Address(address.host, port), made


def close(places: list[Sockets]) -> None:
    """Lets them go; who has some of them still, keeps the port."""
    for bound in (bound for place in places for bound in place):
        bound.close()


def _bind(bound: socket.socket, where: tuple[str | int, ...], alone: bool) -> None:
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if alone:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else connections that are over keep it for a minute
        bound.bind(where)
        bound.listen(0)  # only this finds those out who have bound it, too, and do not listen yet
        bound.shutdown(socket.SHUT_RDWR)  # which leaves it bound, as the port was asked for by number
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if not alone:
        bound.bind(where)


def _free(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        port: int = found.getsockname()[1]
        return port
