"""Clients that stay, clients that hardly read, and what is said of the memory they cost."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from loadtest import memory, traffic
from loadtest.drivers import WrongAnswerError
from loadtest.memory import Answer, Held

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_an_answer_is_whole_with_its_last_byte(cut: int) -> None:
    """Wherever it was cut on its way."""
    answer = Answer()
    assert [False, True] == [answer.take(WHOLE[:cut]), answer.take(WHOLE[cut:])]


@pytest.mark.parametrize("received", [b"", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"])
def test_an_end_or_another_status_is_a_wrong_answer(received: bytes) -> None:
    """A program that refuses or hangs up on its clients has cheap ones."""
    with pytest.raises(WrongAnswerError):
        Answer().take(received)


@contextmanager
def server(hang_up: bool) -> Iterator[int]:
    """Answers one request on each of two connections, and then keeps or closes them."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:

        def serve() -> None:
            clients = [stack.enter_context(listening.accept()[0]) for _ in range(2)]
            for client in clients:
                client.recv(1 << 16)
                client.sendall(WHOLE)
                if hang_up:  # the first one before the second is answered: it is closed when it is looked at
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def test_idle_connections_that_stay_open_are_counted() -> None:
    """Both had their answer and nobody hung up."""
    with server(hang_up=False) as port, ExitStack() as stack:
        memory.idle(port, b"?", 2, stack)


def test_idle_connections_that_were_closed_are_a_wrong_answer() -> None:
    """Memory of connections that are gone says nothing."""
    with server(hang_up=True) as port, ExitStack() as stack, pytest.raises(WrongAnswerError):
        memory.idle(port, b"?", 2, stack)


def test_a_slow_reader_that_is_cut_off_is_counted() -> None:
    """However the end comes, the client is told apart from one that has its whole answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        theirs.shutdown(socket.SHUT_WR)
        answer = memory.Answer()
        memory.finish(ours, answer)
    assert answer.cut


def test_a_question_is_written_whole() -> None:
    """With the credential and its length."""
    question = traffic.question("1k")
    asked = memory.written(question, [("X-API-Key", "k")])
    assert asked.startswith(b"POST /v2/models/digits_1k/infer HTTP/1.1\r\nHost: bench\r\n")
    assert f"\r\nX-API-Key: k\r\nContent-Length: {len(question.message.body)}\r\n\r\n".encode() in asked
    assert asked.endswith(question.message.body)


def test_verdicts_are_on_penstocks_slow_readers() -> None:
    """One for each kind, none for idle connections or other programs."""
    found = [
        Held("envoy", "slow readers", 500, 10.0, 600.0, 0.0),
        Held("penstock", "idle", 5000, 10.0, 100.0, 0.0),
        Held("penstock", "slow readers", 500, 10.0, 74.0, 0.0),
        Held("penstock", "slow readers, 64 KiB", 500, 10.0, 75.0, 0.0),
    ]
    assert memory.verdicts(found) == [
        "goal: 500 slow readers of 1 MB cost ≤ 64 MB: reached (64 MB)",
        "goal: 500 slow readers, 64 KiB of 1 MB cost ≤ 64 MB: missed (65 MB)",
    ]
    assert ["penstock", "idle", "5000", "10.0", "100.0", "90.0", "18.0", "0.0", "0"] == memory.table(found).splitlines()[
        2
    ].split()


@pytest.mark.parametrize("wrong", [["--idle", "0"], ["--slow", "0"], ["--seconds", "0"], ["--only", "apache"]])
def test_settings_out_of_range_are_refused(wrong: list[str]) -> None:
    """Exit status 2, as for every command used wrongly."""
    with pytest.raises(SystemExit) as stopped:
        memory.main(wrong)
    assert stopped.value.code == 2


@pytest.mark.slow
def test_a_small_run_measures_every_kind(tmp_path: Path) -> None:
    """In a process of its own, since it moves itself to another network."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None or os.geteuid() != 0:
        pytest.skip("needs nginx and root")
    output = tmp_path / "memory.json"
    small = ["--idle", "20", "--slow", "5", "--seconds", "0.5", "--only", "nginx", "penstock", "--output", str(output)]
    done = subprocess.run([sys.executable, "-m", "loadtest.memory", *small], capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stderr)
    held = json.loads(output.read_text())["held"]
    assert [(program, kind) for kind in memory.KINDS for program in ("nginx", "penstock")] == [
        (each["program"], each["clients"]) for each in held
    ]
    assert all(each["before_mb"] > 1 for each in held)
