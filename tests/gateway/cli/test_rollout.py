"""`penstock rollout` against a port that answers as the admin API does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from gateway.cli import main
from gateway.rollout.file import Kept
from gateway.rollout.led import Led
from gateway.rollout.report import report
from routing.rollout.betting import Metric
from routing.rollout.rollout import Note, Rollout, Step, Terms

NOTE = Note(1000.0, "alice", "start", "warming", 0.0, "release 2.1")
ROLLOUT = Rollout("digits", "live", "next", Terms((Step(0.05, 3600.0, 10),), (Metric("error-rate"),)), notes=(NOTE,))
TOLD = json.loads(msgspec.json.encode(report(Led(Kept("", ROLLOUT)))))


class Admin(HTTPServer):
    """Writes down what it is asked, and answers with `content`."""

    status = 200
    content: Any = TOLD

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str, Any]] = []


class Answering(BaseHTTPRequestHandler):
    server: Admin

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, json.loads(body or b"null")))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.content).encode())

    do_POST = do_GET  # noqa: N815 - the library's own name

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    monkeypatch.setenv("PENSTOCK_API_KEY", "pk_test")
    with Admin() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(admin: Admin, *words: str) -> int:
    return main(["rollout", *words, "--admin", f"http://127.0.0.1:{admin.server_port}"])


def test_list_and_show(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each; of one all that is known."""
    admin.content = {"rollouts": [TOLD]}
    assert 0 == run(admin, "list")
    assert "digits/live  pending  0 % to next" in capsys.readouterr().out
    admin.content = TOLD
    assert 0 == run(admin, "show", "digits/live")
    said = capsys.readouterr().out
    for words in ("attempt 1", "step 1: 5 %, hold 1h, 10 requests", "error-rate: 0 of 0", "1970-01-01T00:16:40Z alice: start"):
        assert words in said
    admin.content = {**TOLD, "gateways": ["one/1", "two/2"]}
    assert 0 == run(admin, "show", "digits/live")
    assert "decided together by 2 gateways: one/1, two/2" in capsys.readouterr().out
    admin.content = {**TOLD, "away": "the store is away"}
    assert 0 == run(admin, "show", "digits/live")
    assert "  the store is away\n" in capsys.readouterr().out
    admin.content = TOLD
    assert 0 == run(admin, "show", "digits/live", "--json")
    assert TOLD == json.loads(capsys.readouterr().out)
    admin.content = {"rollouts": []}
    assert 0 == run(admin, "list")
    assert "no rollouts" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "promote", "rollback"])
def test_verbs(admin: Admin, verb: str) -> None:
    """Each asks for what it says, with the reason."""
    assert 0 == run(admin, verb, "digits/live", "--why", "because")
    assert [("POST", f"/api/rollouts/digits/live/{verb}", {"why": "because"})] == admin.asked


def test_no_and_used_wrongly(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """1 where the gateway says no, 2 where nobody was asked."""
    admin.status, admin.content = 409, {"error": "a rollout that is pending cannot resume"}
    assert 1 == run(admin, "resume", "digits/live")
    assert "cannot resume" in capsys.readouterr().err
    assert 2 == run(admin, "show", "digits")
    assert 1 == len(admin.asked)
    admin.status = 401
    assert 2 == run(admin, "list")
