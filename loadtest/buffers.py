"""A network of this process's own in which the kernel keeps little for slow readers, so that programs must, or hold back."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
SIOCSIFMTU, ETHERNET = 0x8922, 1500  # with the loopback's 64 KiB packets small windows stall for seconds
SMALL = 64 * 1024  # bytes the kernel takes from a sender whose peer does not read; over loopback it takes 4 MB by itself


def kernel_bytes() -> int:
    """What all TCP sockets of the machine hold in the kernel (/proc/net/sockstat counts pages)."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def make_small() -> None:
    """Move this process, and what it starts from now on, into a network namespace with send buffers of SMALL bytes at most.

    Raises OSError where that is not allowed: it takes root, or a kernel that lets users have namespaces.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET if user == 0 else CLONE_NEWUSER | CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace of our own")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFMTU, struct.pack("16si12x", b"lo", ETHERNET))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))
    Path("/proc/sys/net/ipv4/tcp_wmem").write_text(f"4096 {SMALL // 4} {SMALL}")
