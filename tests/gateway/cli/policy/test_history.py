"""`penstock policy history` before a gateway that answers as told."""

from __future__ import annotations

import json

import pytest

from gateway.cli import main
from tests.gateway.cli.conftest import Gateway

VERSIONS = [
    {"version": "aaaaaaaaaaaa", "time": "2026-11-21T09:42:46.885Z", "who": "me", "via": "api", "what": "rollback"},
    {"version": "bbbbbbbbbbbb", "time": "2026-11-21T09:42:44.675Z", "who": "SIGHUP", "via": "signal", "what": "reload"},
    {"version": "cccccccccccc", "time": "2026-11-21T09:42:43.000Z", "who": "file", "via": "file", "what": "reload"},
    {"version": "dddddddddddd", "time": "2026-11-21T09:42:42.126Z", "who": "start", "via": "start", "what": "start"},
]
SAID = {"version": "aaaaaaaaaaaa", "versions": VERSIONS, "damaged": []}
TABLE = """\
  version       in force since (UTC)  by
* aaaaaaaaaaaa  2026-11-21 09:42:46   me (rollback over the API)
  bbbbbbbbbbbb  2026-11-21 09:42:44   SIGHUP
  cccccccccccc  2026-11-21 09:42:43   a change of the file
  dddddddddddd  2026-11-21 09:42:42   the start of the gateway
"""


def test_a_table_for_people(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, with the one in force marked; what is damaged is said apart."""
    gateway.says = (200, {**SAID, "damaged": ["eeeeeeeeeeee.json"]})
    assert 0 == main(["policy", "history", "--admin", gateway.url])
    out, err = capsys.readouterr()
    assert (TABLE, "damaged, left out: eeeeeeeeeeee.json\n") == (out, err)
    assert ("GET", "/api/policy/history") == gateway.asked[:2]


def test_json_for_programs(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """As the gateway says it."""
    gateway.says = (200, SAID)
    assert 0 == main(["policy", "history", "--admin", gateway.url, "--json"])
    assert SAID == json.loads(capsys.readouterr().out)


def test_who_cannot_ask_is_told_why(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2."""
    gateway.says = (403, {"error": "no"})
    assert 2 == main(["policy", "history", "--admin", gateway.url])
    assert capsys.readouterr().err.startswith("penstock policy history: no\nmake a key: ")
