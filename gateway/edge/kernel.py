"""What the kernel knows of a client's socket and the event loop does not tell: is it lost, and what has not been taken?"""

from __future__ import annotations

import fcntl
import socket
import termios
from asyncio import Transport


def lost(transport: Transport) -> bool:
    """Whether the other side has reset the connection; the loop does not look any more once it has seen the end of input."""
    return bool(transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def untaken(transport: Transport) -> int:
    """Bytes written and not yet acknowledged by the other side.

    The loop's own buffer alone moves in leaps: the kernel, with megabytes of its own, takes more only when a third of them
    is free (Linux, sk_stream_is_writeable), which a slow but steady reader reaches once in many seconds.
    """
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:  # not every system counts this for sockets
        queued = b""
    return transport.get_write_buffer_size() + int.from_bytes(queued, "little")
