"""Operators before a running gateway: who may, going back, restarts, kills, and a disk that hangs."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.crew import Server, serving
from tests.faults.crew import policy as policy_text
from tests.faults.reloads import Place, named, start
from tests.faults.reloads import replace as rename
from tests.real_parts import PENSTOCK, ROOT, answers, get, until

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Server]:
    """A backend."""
    with serving() as made:
        yield made


@pytest.fixture(params=[1, 2], ids=["alone", "two workers"])
def place(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Iterator[Place]:
    """A gateway under the policy with the route `one`, after one with the route `two` has taken its place."""
    running = start(tmp_path, policy_text(server, "one"), workers=request.param)
    running.rename(policy_text(server, "two"))
    until(lambda: "two" in running.api("GET", "/api/policy")[1]["text"], 5)
    yield running
    running.gateway.stop()
    assert "Traceback" not in running.gateway.log()


def again(place: Place) -> Place:
    """The same gateway after a restart, as soon as its ports are free: workers without a parent end by themselves."""
    running = place.gateway
    until(lambda: not any(answers(address, "/v2/health/live") for address in (running.http, running.admin)))
    command = [*PENSTOCK, "serve", "--config", str(running.folder / "gateway.yaml"), "--policy", str(place.file)]
    with (running.folder / "gateway.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    until(lambda: process.poll() is not None or answers(running.admin, "/readyz"), 20)
    return Place(replace(running, process=process), place.operator, place.file)


def in_force(place: Place) -> str:
    """The version, as the API tells it."""
    found: str = place.api("GET", "/api/policy")[1]["version"]
    return found


def test_who_may(place: Place) -> None:
    """An operator's key or token; not a client's, none, a made-up one, or two at once. The rest of the port is open."""
    key, gateway = place.operator, place.gateway

    def asked(headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection(gateway.admin, timeout=10)
        connection.request("GET", "/api/policy", headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    assert 200 == asked({"X-API-Key": key})
    assert 200 == asked(gateway.bearer(scope="models:admin openid"))
    assert 403 == asked({"X-API-Key": gateway.key})
    assert 403 == asked(gateway.bearer(scope="models:infer"))
    assert 401 == asked({})
    assert 401 == asked({"X-API-Key": key[:-1] + ("0" if key[-1] != "0" else "1")})
    assert 401 == asked(gateway.bearer(scope="models:admin", exp=1_000_000_000))
    assert 400 == asked({"X-API-Key": key, **gateway.bearer(scope="models:admin")})
    for path in ("/metrics", "/healthz", "/readyz"):
        assert 200 == get(gateway.admin, path)[0]
    assert key not in gateway.log()


def test_statuses(place: Place) -> None:
    """What is not here, what takes another method, a body that is too large: JSON with what to do."""
    assert 404 == place.api("GET", "/api/nowhere")[0]
    assert 405 == place.api("POST", "/api/policy")[0]
    assert 400 == place.api("POST", "/api/policy/rollback", {})[0]
    status, said = place.api("POST", "/api/policy/rollback", {"version": "x" * 70_000})
    assert (413, {"error": "the body may have 64 KiB"}) == (status, said)
    assert "two" == place.api("POST", "/api/policy/explain", {"model": "m"})[1]["answers"][0]["route"]


def test_a_key_that_is_taken_away_is_worth_nothing(place: Place) -> None:
    """After SIGHUP, which reads keys and policy again."""
    keys = place.gateway.folder / "api-keys.yaml"
    keys.write_text("[]\n")
    place.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: 401 == place.api("GET", "/api/policy")[0], 5)


def test_back_and_forth_by_the_command_line(place: Place, server: Server) -> None:
    """The history shows both, a rollback is in force and in the file, and outlives a restart, as the history does."""
    one, two = (named(policy_text(server, name)) for name in ("one", "two"))
    assert [two, one] == [line.strip("* ").split()[0] for line in rows(place)]
    done = place.command("rollback", one)
    assert (0, f"version {one} is in force, before it {two}\n") == (done.returncode, done.stdout), done.stderr
    assert (one, policy_text(server, "one")) == (in_force(place), place.file.read_text())
    assert 0 == place.command("rollback", two).returncode
    assert 0 == place.command("rollback", one).returncode
    assert 1 == place.command("rollback", "0" * 12).returncode
    assert 0 == place.gateway.stop()
    restarted = again(place)
    assert one == in_force(restarted)
    since = restarted.api("GET", "/api/policy")[1]["since"]
    assert ("alice", "api", "rollback") == (since["who"], since["via"], since["what"])
    audit = [json.loads(line) for line in (place.gateway.folder / "state" / "audit.jsonl").read_text().splitlines()]
    assert [(None, one), (one, two), (two, one), (one, two), (two, one)] == [(each["before"], each["after"]) for each in audit]
    assert ["start", "file", "alice", "alice", "alice"] == [each["who"] for each in audit]
    assert 0 == restarted.gateway.stop()


def rows(place: Place) -> list[str]:
    """The history's lines, without their heading."""
    shown = place.command("history")
    assert 0 == shown.returncode, shown.stderr
    return shown.stdout.splitlines()[1:]


def test_a_rollback_where_the_file_is_a_link(place: Place, server: Server) -> None:
    """It is in force until the link's target changes, every worker has it, and the answer says so."""
    one, two = (named(policy_text(server, name)) for name in ("one", "two"))
    target = place.file.rename(place.file.with_name("target.yaml"))
    place.file.symlink_to(target)
    done = place.command("rollback", one)
    assert 0 == done.returncode, done.stderr
    assert f"note: {place.file} was not written (it is a symbolic link): in force until it changes or is reloaded" in done.stdout
    assert (one, two) == (in_force(place), named(target.read_text()))
    assert 1 == place.gateway.metric("penstock_policy_info", version=one) / place.gateway.metric("penstock_policy_info")
    rename(target, policy_text(server, "three"))
    until(lambda: named(policy_text(server, "three")) == in_force(place), 5)
    assert "" == place.api("GET", "/api/policy")[1]["note"]


def test_a_gateway_killed_while_it_changes_starts_with_what_it_knew(place: Place, server: Server) -> None:
    """Again and again: the history is whole, and the policy in force is the file's."""
    texts = [policy_text(server, f"r{number}") for number in range(40)]
    running = place
    for turn in range(4):
        for text in texts[turn * 10 : turn * 10 + 9]:
            running.rename(text)
            assert 200 == running.api("POST", "/api/policy/reload")[0]
        running.rename(last := texts[turn * 10 + 9])
        running.gateway.process.send_signal(signal.SIGHUP)  # and kill it somewhere within
        until(lambda: named(last) in running.gateway.log(), 5)  # noqa: B023
        running.gateway.process.kill()
        running.gateway.process.wait()
        running = again(running)
        found = running.api("GET", "/api/policy/history")[1]
        assert ([], named(last)) == (found["damaged"], found["version"])
        expected = [named(text) for text in reversed(texts[: turn * 10 + 10])][:20]
        until(lambda: expected == running.kept()[: len(expected)], 5)  # noqa: B023 - written down by and by
    assert 0 == running.gateway.stop()


def test_the_clients_port_is_no_admin_port(place: Place) -> None:
    """Who takes one for the other is told so."""
    wrong = Place(replace(place.gateway, admin=place.gateway.http), place.operator, place.file).command("history")
    assert (2, True) == (wrong.returncode, "penstock policy history: " in wrong.stderr), wrong.stderr
