"""What the kernel holds, and a network in which it holds little."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from loadtest import buffers

PROBE = """
import socket
from loadtest import buffers
buffers.make_small()
with socket.create_server(("127.0.0.1", 0)) as listening:
    client = socket.create_connection(listening.getsockname())
    served, _ = listening.accept()
    served.setblocking(False)
    taken = 0
    try:
        while True:
            taken += served.send(b"x" * 65536)
    except BlockingIOError:
        print(taken)
"""


def test_the_kernel_tells_what_unread_bytes_take() -> None:
    """Sixteen megabytes that nobody reads are seen; each core may keep one of them off the books."""
    before = buffers.kernel_bytes()
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        sent = 0
        for _ in range(16):
            stack.enter_context(socket.create_connection(listening.getsockname()))
            served = stack.enter_context(listening.accept()[0])
            served.setblocking(False)
            sent += served.send(b"x" * (1 << 20))
        assert sent // 2 <= buffers.kernel_bytes() - before


@pytest.mark.slow
def test_in_a_small_network_a_sender_is_held_back() -> None:
    """What one may send to somebody who does not read is far below the 4 MB of the machine's own network."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30)
    assert "" == done.stderr
    assert 0 < int(done.stdout) < 1 << 20
