"""What the kernel knows of a client's socket and the event loop does not tell: is it lost, and what has not been taken?"""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from asyncio import Transport

_ACKED = slice(120, 128)  # tcpi_bytes_acked in struct tcp_info (linux/tcp.h)


def lost(transport: Transport) -> bool:
    """Whether the other side has reset the connection; the loop does not look any more once it has seen the end of input."""
    return bool(transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def balance(transport: Transport) -> int:
    """A number that falls by each byte that the other side takes, whatever is written meanwhile.

    Where the system does not count what was taken (Linux does since 4.1), it rises by each byte written, too.
    """
    count = getattr(socket, "TCP_INFO", None)
    try:
        info = b"" if count is None else transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, count, _ACKED.stop)
    except OSError:  # no TCP
        info = b""
    return -int.from_bytes(info[_ACKED], sys.byteorder) if len(info) == _ACKED.stop else untaken(transport)


def untaken(transport: Transport) -> int:
    """Bytes written and not yet acknowledged by the other side.

    The loop's own buffer alone moves in leaps: the kernel, with megabytes of its own, takes more only when a third of them
    is free (Linux, sk_stream_is_writeable), which a slow but steady reader reaches once in many seconds.
    """
    return transport.get_write_buffer_size() + unacknowledged(transport.get_extra_info("socket").fileno())


def unacknowledged(number: int) -> int:
    """Bytes that a socket holds for the other side, sent or not; 0 on systems that do not count them."""
    return _count(number, termios.TIOCOUTQ)


def unread(transport: Transport) -> int:
    """Bytes that have come and that the loop has not read yet."""
    return _count(transport.get_extra_info("socket").fileno(), termios.FIONREAD)


def _count(number: int, what: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(number, what, b"\0\0\0\0"), sys.byteorder)
    except OSError:  # not every system counts this for sockets
        return 0
