"""Takes a port out of service without losing what clients have on the wire, which closing its sockets would. Linux.

Listening: to close a socket resets every connection in its queue and those whose handshake is under way, also where others
listen on the port (SO_REUSEPORT; the kernel moves them only with net.ipv4.tcp_migrate_req). So new SYNs are dropped first, by a
classic BPF filter: who sent one repeats it after a second (RFC 6298 section 2) and meets the others. What had begun is accepted.

gRPC: grpcio's server, told to stop, cancels each call that comes between that and its client's learning of it: of clients that
ask without a pause, two in five lose one. A GOAWAY that spares every stream (RFC 9113 section 6.8) should come first, but the
library has no word for it, so it is written here beneath it. That must not fall into the middle of a frame. One send is whole in
the kernel, and the library leaves a frame half written only where the kernel's buffer was full: so nobody is given an answer for
a moment, and a connection is written to if it holds little on two looks in a row. Others hear of it from the library alone.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from time import monotonic

from gateway.edge import kernel

SETTLE = 0.1  # seconds, for what a client has sent before it could know: a round trip
GOAWAY = struct.pack(">IBIII", 8 << 8 | 7, 0, 0, 0x7FFFFFFF, 0)  # no last stream, no error
_ESTABLISHED = b"\x01"  # the first byte of struct tcp_info (linux/tcp.h)
_PATIENCE = 1.0  # seconds in which a process must have accepted who is in its queue
_LITTLE = 16 * 1024  # bytes on their way, of a buffer of 46 KiB at least
_LOOK = 0.02  # seconds between looks at a connection
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER of asm-generic/socket.h, which Python does not name
_DROP_SYN = (  # over the TCP header: code, jump if true, jump if false, value
    (0x30, 0, 0, 13),  # its byte of flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


def ignore_newcomers(listening: Iterable[socket.socket]) -> None:
    """From now on nobody new connects here; what had begun goes on. Nothing happens where the system cannot do it."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(code))
    for each in listening:
        if sys.platform == "linux":
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


async def close_off(listening: Sequence[socket.socket]) -> None:
    """Returns when nobody new comes and whoever had come is accepted, by whoever serves there."""
    ignore_newcomers(listening)
    await asyncio.sleep(SETTLE)
    end = monotonic() + _PATIENCE
    while any(map(_queued, listening)) and monotonic() < end:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK)


async def dismiss(port: int, shared: bool, giving: asyncio.Event, idle: float) -> None:
    """Has the clients of a library's port go elsewhere: nobody new comes, and who is connected asks nothing new there.

    Calls under way go on, and those go well that are on the wire; while `giving` is not set, no answer may be begun. Clients have
    `idle` seconds to hang up. Takes a few times SETTLE, and nothing where nobody is connected, unless the port is `shared`: then
    somebody may be about to be.
    """
    with ExitStack() as held:
        connected = _held(held, port, listening=False)
        if not connected and not shared:
            return
        listening = _held(held, port, listening=True)
        await close_off(listening)
        for each in listening:
            each.shutdown(socket.SHUT_RDWR)
        connected = _held(held, port, listening=False)
        giving.clear()
        try:
            await _tell(connected)
        finally:
            giving.set()
        await asyncio.sleep(SETTLE)
        end = monotonic() + idle
        while any(map(_open, connected)) and monotonic() < end:  # noqa: ASYNC110 - the library does not tell
            await asyncio.sleep(_LOOK)


async def _tell(connected: list[socket.socket]) -> None:
    """Sends GOAWAY to those that become quiet in time."""
    end, quiet = monotonic() + SETTLE, set[socket.socket]()
    while connected and monotonic() < end:
        little = {each for each in connected if kernel.unacknowledged(each.fileno()) <= _LITTLE}
        connected = [each for each in connected if each not in quiet & little or not _told(each)]
        quiet = little
        await asyncio.sleep(_LOOK if connected else 0)


def _open(connection: socket.socket) -> bool:
    """Whether its client has not hung up."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == _ESTABLISHED


def _queued(listening: socket.socket) -> int:
    """Connections that nobody has accepted yet: of a socket that listens, what tcp_info has as unacknowledged."""
    told = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return int.from_bytes(told[24:28], sys.byteorder)


def _told(connection: socket.socket) -> bool:
    """Sends GOAWAY; whether there was room, or nobody there."""
    try:
        return connection.send(GOAWAY, socket.MSG_DONTWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:  # it is over
        return True


def _held(held: ExitStack, port: int, listening: bool) -> list[socket.socket]:
    """This process's TCP sockets on that port, under numbers of their own while `held` is open."""
    found = dict[int, socket.socket]()  # by inode: one socket may have several numbers
    for number in _numbers():
        with suppress(OSError):  # closed meanwhile
            each = held.enter_context(socket.socket(fileno=os.dup(number)))
            tcp = each.type == socket.SOCK_STREAM and each.family in (socket.AF_INET, socket.AF_INET6)
            inode = os.fstat(number).st_ino
            if tcp and inode not in found and _port(each) == port and _listens(each) == listening:
                found[inode] = each
            else:
                each.close()
    return list(found.values())


def _numbers() -> Iterator[int]:
    """Those of this process's sockets."""
    with suppress(OSError):
        for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{entry}").startswith("socket:"):  # noqa: PTH115
                    yield int(entry)


def _port(found: socket.socket) -> int:
    return int(found.getsockname()[1])


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
