"""Clients that take their time, as a program of its own: `slow_crowd.py HOST PORT COUNT`, with what each sends on standard input.

Input: one line of JSON, `first` (sent at once), `piece` (sent every tenth of a second, or nothing) and `sip` (bytes read
every tenth of a second). It says `ready` when all are connected, and goes on until its input ends.
"""

from __future__ import annotations

import json
import select
import socket
import sys


def connected(host: str, port: int, first: bytes) -> socket.socket:
    """One client, with little room for what it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, port))
    client.sendall(first)
    client.setblocking(False)
    return client


def alive(client: socket.socket, piece: bytes, sip: int) -> bool:
    """Sends a little and reads a little; whether there is still somebody to send to."""
    try:
        if piece:
            client.send(piece)
        return not sip or client.recv(sip) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def main() -> None:
    """Plays the crowd."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    told = json.loads(sys.stdin.readline())
    first, piece = told["first"].encode(), told["piece"].encode()
    crowd = [connected(host, port, first) for _ in range(count)]
    print("ready", flush=True)  # noqa: T201 - the way to say so
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        crowd = [client for client in crowd if alive(client, piece, told["sip"])]


if __name__ == "__main__":
    main()
