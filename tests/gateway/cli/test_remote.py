"""Asks an admin port over a real socket; every way in which that fails says what to do."""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path

import pytest

from gateway.cli import remote
from tests.gateway.cli.conftest import Gateway


def given(*words: str) -> argparse.Namespace:
    """The arguments of a command line."""
    parser = argparse.ArgumentParser()
    remote.add_arguments(parser)
    return parser.parse_args(words)


def test_a_question_and_its_answer(gateway: Gateway) -> None:
    """The key goes along as a header, the body as JSON."""
    gateway.says = (200, {"version": "a"})
    assert {"version": "a"} == remote.ask(given("--admin", gateway.url), "POST", "/api/x", {"version": "b"})
    assert ("POST", "/api/x", "pk_one", '{"version": "b"}') == gateway.asked
    assert {"version": "a"} == remote.ask(given("--admin", gateway.url.removeprefix("http://")), "GET", "/api/x")
    assert ("GET", "/api/x", "pk_one", "") == gateway.asked


def test_the_key_may_stand_in_a_file(gateway: Gateway, tmp_path: Path) -> None:
    """Which counts before the environment."""
    (tmp_path / "key").write_text("pk_two\n")
    remote.ask(given("--admin", gateway.url, "--key-file", str(tmp_path / "key")), "GET", "/")
    assert "pk_two" == gateway.asked[2]


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "an operator's key is needed"), (b"a\nb", "one API key"), (b"\xff", "holds no key")],
)
def test_a_key_file_that_holds_no_key(gateway: Gateway, tmp_path: Path, content: bytes | None, why: str) -> None:
    """Is said before anybody is asked."""
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(remote.RemoteError, match=why):
        remote.ask(given("--admin", gateway.url, "--key-file", str(tmp_path / "key")), "GET", "/")
    assert "" == gateway.asked[0]


def test_without_a_key_it_says_how_to_make_one(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the scope that it needs."""
    monkeypatch.delenv("PENSTOCK_API_KEY")
    with pytest.raises(remote.RemoteError, match=r"set PENSTOCK_API_KEY or give --key-file(?s:.*)--scope models:admin"):
        remote.ask(given("--admin", gateway.url), "GET", "/")


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_does_not_do(gateway: Gateway, status: int) -> None:
    """The gateway's words, and how to make one that does."""
    gateway.says = (status, {"error": "your credential has not the scope models:admin"})
    with pytest.raises(remote.RemoteError, match=r"has not the scope models:admin\nmake a key: penstock keys new .*models:admin"):
        remote.ask(given("--admin", gateway.url), "GET", "/")


def test_no_is_an_answer(gateway: Gateway) -> None:
    """With everything the gateway said; a gateway that cannot is no answer."""
    gateway.says = (409, {"error": "policy.yaml:1: no", "problems": []})
    with pytest.raises(remote.NoError, match="no") as no:
        remote.ask(given("--admin", gateway.url), "GET", "/")
    assert (409, []) == (no.value.status, no.value.content["problems"])
    gateway.says = (503, {"error": "the gateway is stopping"})
    with pytest.raises(remote.RemoteError, match="stopping"):
        remote.ask(given("--admin", gateway.url), "GET", "/")


@pytest.mark.parametrize(("status", "found"), [(200, {"error": "no"}), (404, 1), (503, 2)])
def test_what_commands_make_of_it(gateway: Gateway, capsys: pytest.CaptureFixture[str], status: int, found: object) -> None:
    """The answer, or an exit status and why; for a script the gateway's own words."""
    gateway.says = (status, {"error": "no"})
    assert found == remote.asked(given("--admin", gateway.url), "penstock x", "GET", "/")
    assert ("" if status == 200 else "penstock x: no\n") == capsys.readouterr().err
    remote.asked(given("--admin", gateway.url, "--json"), "penstock x", "GET", "/")
    assert ('{"error": "no"}\n' if status == 404 else "" if status == 200 else "penstock x: no\n") == capsys.readouterr().err


@pytest.mark.parametrize("says", [(200, b"<html>"), (200, b""), (200, [1]), (404, {"detail": "x"})])
def test_somebody_else_answers(gateway: Gateway, says: tuple[int, object]) -> None:
    """Something that is no admin port of ours."""
    gateway.says = says
    with pytest.raises(remote.RemoteError, match=r"is no admin port of Penstock|does not understand"):
        remote.ask(given("--admin", gateway.url), "GET", "/")


def test_nobody_answers(gateway: Gateway) -> None:
    """Refused, or no such name."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(remote.RemoteError, match=f"no gateway at {url}: Connection refused; is it running"):
            remote.ask(given("--admin", url), "GET", "/")


def test_somebody_who_never_answers(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """After a while people are told that they wait, and at last that it is no use."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, begin = f"http://127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with pytest.raises(remote.RemoteError, match=r"does not answer within 0\.5 s"):
            remote.ask(given("--admin", url), "GET", "/", patience=remote.Patience(0.5, 0.1))
        assert time.monotonic() - begin < 5
    assert f"waiting for {url} …\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:8082", "http://", "http://a:b", "http://u:p@h:1", "http://h:1/path", "ftp://h"]
)
def test_an_address_that_is_none(gateway: Gateway, url: str) -> None:
    """Is used wrongly."""
    with pytest.raises(remote.RemoteError, match="give the admin port as http://HOST:PORT"):
        remote.ask(given("--admin", url), "GET", "/")
