"""How much of anything one client may take: bytes, counts and clocks of the HTTP/1.1 edge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, clocks in seconds. The clocks are kept by one sweep per listener: each may run over by `sweep`."""

    request_line: int = 8 * 1024
    headers: int = 32 * 1024  # the header section, names and values and separators
    header_count: int = 100
    body: int = 64 * 1024 * 1024
    connections: int = 10_000
    pipelined: int = 64 * 1024  # bytes of later requests kept while one is being answered; beyond it reading pauses
    unread: int = 256 * 1024  # body bytes thrown away after an early refusal before the connection is given up
    idle_clock: float = 75.0  # to the first byte of a request, on a new and on a kept connection
    headers_clock: float = 5.0  # from a request's first byte to the end of its headers
    body_rate: int = 1024  # bytes per second that a body must reach in every window of `body_window`
    body_window: float = 5.0
    write_clock: float = 10.0  # without the client taking any of the answer
    linger_clock: float = 2.0  # for reading what a refused client still sends
    sweep: float = 0.5
