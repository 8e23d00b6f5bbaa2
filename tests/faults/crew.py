"""Two workers under one parent and the backend behind them, for tests that break one or the other."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.real_parts import PENSTOCK, ROOT, GatewayProcess, Issuer, answers, free_ports, until

ASKED = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}).encode()
ANSWER = {"model_name": "x", "model_version": "1", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [2]}]}


class Server(ThreadingHTTPServer):
    """A backend that answers when `go` is set, and counts who waits."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.go = threading.Event()
        self.go.set()
        self.waiting = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has left: that is what some tests are about."""


class Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    disable_nagle_algorithm = True  # a head and a body apart would wait for each other
    wbufsize = -1

    def do_POST(self) -> None:
        """Every question has the same answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.waiting += 1
        self.server.go.wait(20)
        self.server.waiting -= 1
        self.answer(200, json.dumps(ANSWER).encode())

    def do_GET(self) -> None:
        """It describes nothing."""
        self.answer(404, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        """Sends it."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def policy(backend: Server, route: str = "default") -> str:
    """One model over that backend."""
    return json.dumps(
        {
            "version": 1,
            "backends": {"b": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{backend.server_port}"]}},
            "models": {
                "m": {
                    "timeout": "20s",
                    "variants": {"v": {"backend": "b", "model": "x"}},
                    "routes": [{"name": route, "use": "v"}],
                }
            },
        }
    )


@dataclass
class Crew:
    """A parent that runs, and its backend."""

    gateway: GatewayProcess
    backend: Server
    told: list[tuple[int, str]] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def workers(self) -> set[int]:
        """The processes below the parent."""
        parent = self.gateway.process.pid
        with contextlib.suppress(FileNotFoundError):
            return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}
        return set()

    def ask(self) -> None:
        """One request on a connection of its own; status and route are noted, 0 for none."""
        connection = http.client.HTTPConnection(self.gateway.http, timeout=20)
        try:
            connection.request("POST", "/v2/models/m/infer", ASKED)
            answer = connection.getresponse()
            answer.read()
            self.told.append((answer.status, answer.headers.get("X-Penstock-Route", "")))
        except (OSError, http.client.HTTPException):
            self.told.append((0, ""))
        finally:
            connection.close()

    def many(self, count: int) -> list[tuple[int, str]]:
        """So many requests, one after the other, and what they were told."""
        self.told.clear()
        for _ in range(count):
            self.ask()
        return list(self.told)

    def hold(self, count: int) -> None:
        """So many requests that the backend holds."""
        self.backend.go.clear()
        self.told.clear()
        self.threads = [threading.Thread(target=self.ask) for _ in range(count)]
        for thread in self.threads:
            thread.start()
        until(lambda: count == self.backend.waiting)

    def released(self) -> list[tuple[int, str]]:
        """Lets the held ones go, and returns what they were told."""
        self.backend.go.set()
        for thread in self.threads:
            thread.join()
        return list(self.told)

    def requests(self) -> float:
        """The total of requests."""
        return self.gateway.metric("penstock_requests_total", model="m")

    def signal(self, number: int) -> None:
        """To the parent."""
        self.gateway.process.send_signal(number)


def configured(folder: Path, backend: Server, **more: Any) -> dict[str, str]:
    """The documents of two workers on free ports, or what `more` says, written down; returns the addresses."""
    addresses = dict(zip(("http", "grpc", "admin"), (f"127.0.0.1:{port}" for port in free_ports(3)), strict=True))
    auth = {"anonymous": True, "api_keys": None}
    addresses = more.get("listen", addresses)
    document = {"listen": addresses, "workers": 2, "auth": auth, "drain": {"notice": "0s", "idle": "0s", "grace": "3s"}, **more}
    (folder / "gateway.yaml").write_text(json.dumps(document))
    (folder / "policy.yaml").write_text(policy(backend))
    return {name: addresses[name] for name in ("http", "grpc", "admin")}


def command(folder: Path) -> list[str]:
    """How it is started."""
    return [*PENSTOCK, "serve", "--config", str(folder / "gateway.yaml"), "--policy", str(folder / "policy.yaml")]


def gone(pids: set[int]) -> bool:
    """Whether none of these processes is there any more; one that has ended and waits to be noticed is not."""
    return not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return "Z" != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """The backend, while the block lasts."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def running(folder: Path, backend: Server, **more: Any) -> Iterator[Crew]:
    """Two workers that serve; after the block no process of theirs is left, however they were treated in it."""
    addresses = configured(folder, backend, **more)
    with (folder / "access.log").open("wb") as access, (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command(folder), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=access, stderr=log)
    gateway = GatewayProcess(folder, "", **addresses, key="", issuer=Issuer(folder), process=process)
    made = Crew(gateway, backend)
    pids = set[int]()
    try:
        until(lambda: answers(gateway.admin, "/readyz"), 20)
        pids = made.workers()
        assert len(pids) == {1: 0}.get(more.get("workers", 2), 2)
        yield made
    finally:
        pids |= made.workers()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        gateway.stop()
        until(lambda: gone(pids))
    assert "Traceback" not in gateway.log()
