"""Several workers under one parent, really killed, stopped and misled: the others go on, and nothing is left over."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.real_parts import PENSTOCK, ROOT, GatewayProcess, Issuer, answers, free_ports, get, until

pytestmark = pytest.mark.slow
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


Start = Callable[..., Crew]


def configured(folder: Path, backend: Server, **more: Any) -> dict[str, str]:
    """The documents of two workers on free ports, written down; returns the addresses."""
    addresses = dict(zip(("http", "grpc", "admin"), (f"127.0.0.1:{port}" for port in free_ports(3)), strict=True))
    auth = {"anonymous": True, "api_keys": None}
    document = {"listen": addresses, "workers": 2, "auth": auth, "drain": {"grace": "3s"}, **more}
    (folder / "gateway.yaml").write_text(json.dumps(document))
    (folder / "policy.yaml").write_text(policy(backend))
    return addresses


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


@pytest.fixture
def backend() -> Iterator[Server]:
    """The backend, serving."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def crew(tmp_path: Path, backend: Server) -> Iterator[Crew]:
    """Two workers that serve; afterwards no process of theirs is left, however they were treated."""
    addresses = configured(tmp_path, backend)
    with (tmp_path / "access.log").open("wb") as access, (tmp_path / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command(tmp_path), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=access, stderr=log)
    gateway = GatewayProcess(tmp_path, "", **addresses, key="", issuer=Issuer(tmp_path), process=process)
    made = Crew(gateway, backend)
    try:
        until(lambda: answers(gateway.admin, "/readyz"), 20)
    except TimeoutError:
        gateway.stop()
        raise AssertionError(gateway.log()) from None
    pids = made.workers()
    assert 2 == len(pids)
    yield made
    pids |= made.workers()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    gateway.stop()
    until(lambda: gone(pids))
    assert "Traceback" not in gateway.log()


def test_both_workers_answer_on_both_ports(crew: Crew) -> None:
    """New connections are dealt out; operators see one gateway."""
    assert {(200, "default")} == set(crew.many(40))
    assert 40 == crew.requests()
    assert 2 == crew.gateway.metric("penstock_workers")
    assert 1 == crew.gateway.metric("penstock_policy_info")
    assert 1 == crew.gateway.metric("penstock_policy_reloads_total", result="ok")
    for _ in range(20):
        with grpc.insecure_channel(crew.gateway.grpc, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            live: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert b"\x08\x01" == live(b"", timeout=5)
    log = crew.gateway.folder / "access.log"
    until(lambda: 40 == log.read_text().count('"model":"m"'))
    assert 2 == len({json.loads(line)["request_id"].partition("-")[0] for line in log.read_text().splitlines()})


def test_a_killed_worker_is_replaced_and_its_counts_stay(crew: Crew) -> None:
    """The other goes on answering meanwhile, and no total falls."""
    crew.many(30)
    before = crew.requests()
    victim, survivor = sorted(crew.workers())
    os.kill(victim, signal.SIGKILL)
    until(lambda: 2 == len(crew.workers() - {victim}) and 2 == crew.gateway.metric("penstock_workers"), 5)
    assert survivor in crew.workers()
    assert 30 == before == crew.requests()
    assert 1 == crew.gateway.metric("penstock_worker_ends_total")
    assert {(200, "default")} == set(crew.many(30))
    assert 60 == crew.requests()


def test_while_no_worker_lives_the_port_is_kept(crew: Crew) -> None:
    """Nobody else can take it, operators are told, and soon they are back."""
    for pid in crew.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: 0 < crew.gateway.metric("penstock_worker_ends_total"))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", int(crew.gateway.http.rpartition(":")[2])))
    until(lambda: 2 == crew.gateway.metric("penstock_workers"), 5)
    assert {(200, "default")} == set(crew.many(10))


def test_a_worker_told_to_end_loses_no_count(crew: Crew) -> None:
    """SIGTERM to one of them: it answers what it has, tells its last counts, and another takes its place."""
    crew.hold(8)
    first = crew.workers()
    for pid in first:
        os.kill(pid, signal.SIGTERM)
    assert [(200, "default")] * 8 == crew.released()
    until(lambda: first.isdisjoint(crew.workers()) and 2 == crew.gateway.metric("penstock_workers"))
    assert 8 == crew.requests()


def test_a_hung_worker_holds_no_scrape_and_is_replaced(crew: Crew) -> None:
    """Its last counts stand in; when it has not answered for a while, it is killed."""
    crew.many(20)
    assert 20 == crew.requests()
    victim = min(crew.workers())
    os.kill(victim, signal.SIGSTOP)
    begin = time.monotonic()
    assert 20 == crew.requests()
    assert time.monotonic() - begin < 3
    until(lambda: victim not in crew.workers() and 2 == crew.gateway.metric("penstock_workers"), 40)
    assert "does not answer and is killed" in crew.gateway.log()
    assert 20 == crew.requests()


def test_sighup_reaches_every_worker_or_none(crew: Crew) -> None:
    """A good policy is everybody's; a broken one is nobody's, not even of a worker that starts later."""
    crew.gateway.write_policy(policy(crew.backend, "second"))
    crew.signal(signal.SIGHUP)
    until(lambda: {(200, "second")} == set(crew.many(12)))
    assert 1 == crew.gateway.metric("penstock_policy_info")
    crew.gateway.write_policy("version: 1\nmodels: {")
    crew.signal(signal.SIGHUP)
    until(lambda: 1 == crew.gateway.metric("penstock_policy_reloads_total", result="refused"))
    assert 1 == crew.gateway.log().count("policy not taken")
    assert 2 == crew.gateway.metric("penstock_policy_reloads_total", result="ok")
    for pid in crew.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: 2 == crew.gateway.metric("penstock_worker_ends_total") and 2 == crew.gateway.metric("penstock_workers"))
    assert {(200, "second")} == set(crew.many(12))
    assert 1 == crew.gateway.metric("penstock_policy_info")


def test_sigterm_lets_every_worker_end_in_order(crew: Crew) -> None:
    """Not ready, no new connections, yet everybody who waits is answered; then status 0 and no process."""
    crew.hold(8)
    pids = crew.workers()
    crew.signal(signal.SIGTERM)
    until(lambda: not answers(crew.gateway.http, "/v2/health/live"))
    assert (503, True) == (get(crew.gateway.admin, "/readyz")[0], b"draining" in get(crew.gateway.admin, "/readyz")[1])
    assert 8 == crew.gateway.metric("penstock_in_flight")
    assert [(200, "default")] * 8 == crew.released()
    assert 0 == crew.gateway.process.wait(5)
    assert gone(pids)


def test_the_grace_is_not_for_ever(crew: Crew) -> None:
    """Who is not answered when it is over (3 s here) is let go."""
    crew.hold(4)
    pids, begin = crew.workers(), time.monotonic()
    crew.signal(signal.SIGTERM)
    assert 0 == crew.gateway.process.wait(10)
    assert 2.9 < time.monotonic() - begin < 6
    assert gone(pids)
    crew.released()


def test_a_second_sigterm_ends_at_once(crew: Crew) -> None:
    """Who is in a hurry does not wait for the grace."""
    crew.hold(4)
    pids, begin = crew.workers(), time.monotonic()
    crew.signal(signal.SIGTERM)
    until(lambda: not answers(crew.gateway.http, "/v2/health/live"))
    crew.signal(signal.SIGTERM)
    assert 0 == crew.gateway.process.wait(5)
    assert time.monotonic() - begin < 2
    assert gone(pids)
    crew.released()


def test_workers_end_in_order_without_their_parent(crew: Crew) -> None:
    """It is killed outright: what is in flight is answered, nothing new is taken, and the port is free."""
    crew.hold(8)
    pids = crew.workers()
    crew.signal(signal.SIGKILL)
    until(lambda: not answers(crew.gateway.http, "/v2/health/live"))
    assert not gone(pids)
    assert [(200, "default")] * 8 == crew.released()
    until(lambda: gone(pids))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(crew.gateway.http.rpartition(":")[2])))


def test_a_signal_to_the_whole_group_is_one_signal(tmp_path: Path, backend: Server) -> None:
    """As a terminal sends them: Ctrl-C is an orderly end, a reload by SIGHUP is one reload."""
    addresses = configured(tmp_path, backend)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    until(lambda: answers(addresses["admin"], "/readyz"), 20)
    os.killpg(process.pid, signal.SIGHUP)
    until(lambda: b'total{result="ok"} 2' in get(addresses["admin"], "/metrics")[1])
    os.killpg(process.pid, signal.SIGINT)
    assert 0 == process.wait(10)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("taken", ["http", "grpc", "admin"])
def test_a_port_in_use_is_said_once(tmp_path: Path, backend: Server, taken: str) -> None:
    """By the parent, before there are workers; also where its owner would share it."""
    address = configured(tmp_path, backend)[taken]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        other.listen()
        done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (1, 1) == (done.returncode, done.stderr.count("in use")), done.stderr
    assert "Traceback" not in done.stderr


def test_what_keeps_workers_from_starting_is_said_once(tmp_path: Path, backend: Server) -> None:
    """Two of them find it out; the user reads it once."""
    configured(tmp_path, backend, auth={"api_keys": str(tmp_path / "none.yaml")})
    done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (1, 1) == (done.returncode, done.stderr.count("cannot start")), done.stderr
    assert "Traceback" not in done.stderr


def test_lines_of_the_access_log_stay_whole(tmp_path: Path, backend: Server) -> None:
    """Both workers write to one pipe with a slow reader; every line is one JSON object, and none is missing."""
    addresses = configured(tmp_path, backend)
    process = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    until(lambda: answers(addresses["admin"], "/readyz"), 20)

    def ask() -> None:
        connection = http.client.HTTPConnection(addresses["http"], timeout=20)
        for number in range(1000):
            connection.request("GET", "/v2/models/unknown" + "x" * (number % 90), headers={"User-Agent": "t"})
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)  # only now: the pipe was full, and writes had to wait
    lines = [json.loads(line) for line in out.splitlines()]
    assert 8000 == len([line for line in lines if line.get("path", "").startswith("/v2/models/unknown")])
    assert 2 == len({line["request_id"].partition("-")[0] for line in lines})
    assert 0 == process.returncode
