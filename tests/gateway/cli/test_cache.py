"""`penstock cache purge` before a gateway that answers as told."""

from __future__ import annotations

import json

import pytest

from gateway.cli import main
from tests.gateway.cli.conftest import Gateway


def test_what_is_purged(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The gateway is told what was said and nothing else; what it says is shown."""
    gateway.says = (200, {"purged": "answers of model digits, version 3"})
    assert 0 == main(["cache", "purge", "--model", "digits", "--version", "3", "--admin", gateway.url])
    assert "purged: answers of model digits, version 3\n" == capsys.readouterr().out
    assert ("POST", "/api/cache/purge", "pk_one", '{"model": "digits", "version": "3"}') == gateway.asked
    assert 0 == main(["cache", "purge", "--all", "--admin", gateway.url, "--json"])
    assert {"purged": "answers of model digits, version 3"} == json.loads(capsys.readouterr().out)
    assert "{}" == gateway.asked[-1]


def test_others_may_hear_of_it_later(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """It is done here and status 0, but it is said."""
    for heard in (True, False):
        gateway.says = (200, {"purged": "all answers", "heard": heard})
        assert 0 == main(["cache", "purge", "--all", "--admin", gateway.url])
        assert heard == ("" == capsys.readouterr().err)


@pytest.mark.parametrize("words", [[], ["--all", "--model", "digits"]])
def test_all_is_said_on_purpose(gateway: Gateway, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing said is a slip, and both is a contradiction."""
    assert 2 == main(["cache", "purge", *words, "--admin", gateway.url])
    assert "say which answers" in capsys.readouterr().err


def test_no_is_status_1(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """In the gateway's words."""
    gateway.says = (404, {"error": "there is no tag x in the policy: nothing was purged"})
    assert 1 == main(["cache", "purge", "--tag", "x", "--admin", gateway.url, "--json"])
    told = capsys.readouterr()
    assert "penstock cache purge: there is no tag x in the policy: nothing was purged\n" == told.err
    assert {"error": gateway.says[1]["error"]} == json.loads(told.out)


def test_who_cannot_ask_is_told_why(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2."""
    gateway.says = (401, {"error": "who are you?"})
    assert 2 == main(["cache", "purge", "--all", "--admin", gateway.url])
    assert capsys.readouterr().err.startswith("penstock cache purge: who are you?\nmake a key: ")
