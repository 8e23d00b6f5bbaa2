"""`penstock policy rollback` before a gateway that answers as told."""

from __future__ import annotations

import json

import pytest

from gateway.cli import main
from tests.gateway.cli.conftest import Gateway

DONE = {"version": "aaaaaaaaaaaa", "before": "bbbbbbbbbbbb", "note": ""}


def test_it_is_in_force(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The gateway is told which version; what there is to know is shown."""
    gateway.says = (200, DONE)
    assert 0 == main(["policy", "rollback", "aaaaaaaaaaaa", "--admin", gateway.url])
    assert "version aaaaaaaaaaaa is in force, before it bbbbbbbbbbbb\n" == capsys.readouterr().out
    assert ("POST", "/api/policy/rollback", "pk_one", '{"version": "aaaaaaaaaaaa"}') == gateway.asked
    gateway.says = (200, {**DONE, "note": "policy.yaml was not written"})
    assert 0 == main(["policy", "rollback", "aaaaaaaaaaaa", "--admin", gateway.url])
    assert capsys.readouterr().out.endswith("note: policy.yaml was not written\n")


def test_json_for_programs(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a refusal too."""
    gateway.says = (200, DONE)
    assert 0 == main(["policy", "rollback", "a", "--admin", gateway.url, "--json"])
    assert DONE == json.loads(capsys.readouterr().out)
    gateway.says = (409, {"error": "no", "problems": []})
    assert 1 == main(["policy", "rollback", "a", "--admin", gateway.url, "--json"])
    assert {"error": "no", "problems": []} == json.loads(capsys.readouterr().out)


def test_no_is_status_1(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """In the gateway's words, which name the versions that are kept."""
    gateway.says = (404, {"error": "that version is not kept; kept are a, b"})
    assert 1 == main(["policy", "rollback", "c", "--admin", gateway.url])
    assert "penstock policy rollback: that version is not kept; kept are a, b\n" == capsys.readouterr().err


def test_who_cannot_ask_is_told_why(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2."""
    gateway.says = (401, {"error": "who are you?"})
    assert 2 == main(["policy", "rollback", "c", "--admin", gateway.url])
    assert capsys.readouterr().err.startswith("penstock policy rollback: who are you?\nmake a key: ")
