"""How several workers start, or do not, and what they have in common with their surroundings: a terminal, a port, a pipe."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.crew import Server, command, configured, serving
from tests.real_parts import ROOT, answers, get, until

pytestmark = pytest.mark.slow


@pytest.fixture
def backend() -> Iterator[Server]:
    """The backend, serving."""
    with serving() as server:
        yield server


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
        for number in range(400):
            connection.request("GET", "/v2/models/unknown" + "x" * (number % 90), headers={"User-Agent": "t"})
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(20)]  # of so many, both workers have some
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
