"""Python's least proxy."""

import socket
import sys
import threading
from pathlib import Path

import pytest

from loadtest import processes


def echo(listener: socket.socket) -> None:
    """One connection."""
    connection, _ = listener.accept()
    with connection:
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)


@pytest.mark.slow
def test_bytes_pass_both_ways_unchanged_and_an_end_ends_both(tmp_path: Path) -> None:
    """Whoever has left is told to the other."""
    sent, port = bytes(range(256)) * 4000, processes.free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = threading.Thread(target=echo, args=(listener,))
        backend.start()
        command = (sys.executable, "-m", "loadtest.pipe", str(port), str(listener.getsockname()[1]))
        running = processes.start("pipe", command, {processes.cores().load}, tmp_path / "log")
        try:
            running.wait_ready(lambda: "ready" in running.log_tail())
            with socket.create_connection(("127.0.0.1", port), 10) as client, client.makefile("rb") as stream:
                sender = threading.Thread(target=client.sendall, args=(sent,))
                sender.start()
                assert sent == stream.read(len(sent))
                sender.join()
            backend.join(10)
            assert not backend.is_alive()
        finally:
            running.stop()
