"""An admin port that says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Gateway(ThreadingHTTPServer):
    """`says` is the status and body of every answer; `asked` the last request: method, path, key and body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.says: tuple[int, Any] = (200, {})
        self.asked = ("", "", "", "")
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Asked(BaseHTTPRequestHandler):
    server: Gateway

    def do_GET(self) -> None:
        """As any method."""
        self.do_POST()

    def do_POST(self) -> None:
        """Notes what was asked, and answers."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked = (self.command, self.path, self.headers["X-API-Key"], body.decode())
        status, content = self.server.says
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """One that listens; the key is in the environment."""
    monkeypatch.setenv("PENSTOCK_API_KEY", "pk_one")
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
