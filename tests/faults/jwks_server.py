"""An issuer's key set over HTTP as a process that tests kill, stop and starve: `python -m tests.faults.jwks_server FILE PORT`.

It answers every GET with what FILE holds at that moment, and appends a byte to FILE.fetches for each, so that publishing is
writing a file, and fetches are counted even across deaths.
"""

from __future__ import annotations

import http.server
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.real_parts import ROOT, until


class JwksServer:
    """The process, seen from a test: `url` for `auth.jwt[].jwks`; what it publishes is the bytes of `document`."""

    def __init__(self, document: Path, port: int = 0) -> None:
        self.document = document
        self._counted = document.with_name(f"{document.name}.fetches")
        self._counted.write_bytes(b"")
        if not port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        self._port = port
        self.url = f"http://127.0.0.1:{port}/jwks.json"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def fetches(self) -> int:
        """How often it was asked and could answer."""
        return self._counted.stat().st_size

    def start(self) -> None:
        """Serves from now on; also again after `kill`."""
        command = [sys.executable, "-m", "tests.faults.jwks_server", str(self.document), str(self._port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
        until(self._listens)

    def kill(self) -> None:
        """Gone at once: connections are refused. Harmless twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Hangs: connections are taken by the kernel and never answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on, with whatever was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return 0 == probe.connect_ex(("127.0.0.1", self._port))


def serve(document: Path, port: int) -> None:
    """Answers until killed."""
    counted = document.with_name(f"{document.name}.fetches")

    class Answer(http.server.BaseHTTPRequestHandler):
        timeout = 5.0  # whoever connects and asks nothing

        def do_GET(self) -> None:  # the library's name
            with counted.open("ab") as count:
                count.write(b".")
            body = document.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
