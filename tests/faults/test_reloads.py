"""A thousand reloads under load (CI: two hundred), and how soon each is in force: nobody fails, no answer is of two versions."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.crew import ASKED
from tests.faults.figures import LONG, Figures
from tests.faults.reloads import Backend, Place, backend, clients, document, named, replace, start, words
from tests.real_parts import get, until

pytestmark = pytest.mark.slow
RELOADS = 1000 if LONG else 200
BAD = ("version: 1\nmodls: {", "", '{"version": 1, "backends": {}, "models": {}}', "\x00")


@pytest.fixture
def kept() -> Iterator[Backend]:
    """A backend that is the same cluster in every policy."""
    with backend() as server:
        yield server


@pytest.fixture
def changed() -> Iterator[Backend]:
    """A backend whose cluster every policy describes otherwise."""
    with backend() as server:
        yield server


@pytest.fixture(params=[1, 2], ids=["alone", "two workers"])
def place(request: pytest.FixtureRequest, tmp_path: Path, kept: Backend, changed: Backend) -> Iterator[Place]:
    """A gateway under the policy `a`."""
    running = start(tmp_path, document("a", kept, changed, 1), workers=request.param)
    yield running
    assert 0 == running.gateway.stop()
    assert "Traceback" not in running.gateway.log()


def test_reloads_under_load(place: Place, kept: Backend, changed: Backend, figures: Figures) -> None:
    """By the API and by the file alone, with refused ones in between: nobody fails, nothing is mixed, connections stay."""
    policies = [document("a", kept, changed, 1), document("b", kept, changed, 7)]
    expected = {named(policies[0]): words("a", 1), named(policies[1]): words("b", 7)}
    with clients(place.gateway, expected) as asking:
        until(lambda: asking.answers > 100, 20)
        before, refused = kept.connections, 0
        for number in range(RELOADS):
            text = policies[(number + 1) % 2]
            place.rename(text)
            if number % 25 == 0:  # the watch alone
                until(lambda: named(text) == place.api("GET", "/api/policy")[1]["version"], 10)  # noqa: B023
            else:
                status, said = place.api("POST", "/api/policy/reload")
                assert (200, named(text)) == (status, said["version"])
            if number % 10 == 0:
                place.rename(BAD[number // 10 % len(BAD)])
                status, said = place.api("POST", "/api/policy/reload")
                assert (409, named(text)) == (status, said["version"])
                refused += 1
        enough = asking.answers + 100
        until(lambda: asking.answers > enough, 20)
    figures.none_of("Reload", f"failed or mixed answers over {RELOADS} reloads", len(asking.wrong), asking.answers)
    assert set(expected) == asking.seen
    # What a pool opens as chance has more in flight at once; not one for each reload.
    figures.at_most("Reload", "more connections to an unchanged backend", kept.connections - before, 8)
    assert changed.connections > RELOADS // 10
    assert RELOADS // 10 == refused <= place.gateway.metric("penstock_policy_reloads_total", result="refused")


def swapping(folder: Path) -> Callable[[str], None]:
    """The policy's file as Kubernetes mounts it, and how it changes: a new folder, then one link renamed over another."""
    (folder / "policy.yaml").unlink()
    (folder / "policy.yaml").symlink_to("..data/policy.yaml")
    count = 0

    def swap(text: str) -> None:
        nonlocal count
        count += 1
        (made := folder / f"..{count}").mkdir()
        (made / "policy.yaml").write_text(text)
        (link := folder / "..data_tmp").symlink_to(made.name)
        link.replace(folder / "..data")

    return swap


@pytest.mark.parametrize("way", ["rename", "symlink"])
def test_a_change_is_in_force_soon(place: Place, kept: Backend, changed: Backend, way: str, figures: Figures) -> None:
    """Within 200 ms of the rename the next answer is the new policy's, fifty times."""
    change: Callable[[str], None] = place.rename
    if way == "symlink":
        change = swapping(place.file.parent)
        change(document("a", kept, changed, 1))
    took = [waited(place, change, document(f"p{number}", kept, changed, number)) for number in range(50)]
    figures.within("Reload", f"{way} to effect, median", statistics.median(took), 0.15)
    figures.within("Reload", f"{way} to effect, 49 of 50", sorted(took)[-2], 0.2)  # on a machine that does other things too


def waited(place: Place, change: Callable[[str], None], text: str) -> float:
    """Seconds from the change until an answer is by it."""
    wanted = named(text)
    connection = http.client.HTTPConnection(place.gateway.http, timeout=20)
    change(text)
    begin = time.monotonic()
    while True:
        connection.request("POST", "/v2/models/m/infer", ASKED, place.gateway.credential)
        answer = connection.getresponse()
        answer.read()
        if answer.headers["X-Penstock-Policy"] == wanted:
            connection.close()
            return time.monotonic() - begin


def test_half_a_file_is_never_in_force(place: Place, kept: Backend, changed: Backend) -> None:
    """Written in place, in pieces: short pauses are waited for; after a long one the end is missed, and said once."""
    first = place.api("GET", "/api/policy")[1]["version"]
    text = "---\n" + json.dumps(json.loads(document("b", kept, changed, 7)), indent=1) + "\n...\n"
    seen = set[str]()
    with place.file.open("w") as file:
        for at in range(0, len(text), 40):
            file.write(text[at : at + 40])
            file.flush()
            seen.add(place.api("GET", "/api/policy")[1]["version"])
    until(lambda: named(text) == place.api("GET", "/api/policy")[1]["version"], 5)
    assert {first} == seen
    assert 0 == place.gateway.metric("penstock_policy_reloads_total", result="refused")
    other = text.replace("route-b", "route-c")
    with place.file.open("w") as file:
        file.write(other[: len(other) // 2])
        file.flush()
        until(lambda: 1 == place.gateway.metric("penstock_policy_reloads_total", result="refused"), 5)
        assert 200 == get(place.gateway.admin, "/readyz")[0]
        assert "cut off" in place.api("GET", "/api/policy")[1]["refused"]["error"]
        assert named(text) == place.api("GET", "/api/policy")[1]["version"]
        file.write(other[len(other) // 2 :])
    until(lambda: named(other) == place.api("GET", "/api/policy")[1]["version"], 5)
    assert 1 == place.gateway.log().count("policy not taken")
    assert 200 == place.api("POST", "/api/policy/reload")[0]


def test_a_vanished_file_keeps_the_policy(place: Place, kept: Backend, changed: Backend) -> None:
    """One line in the log, ready all the same; back again with another policy it is taken."""
    first = place.api("GET", "/api/policy")[1]["version"]
    place.file.unlink()
    until(lambda: "No such file or directory" in place.gateway.log(), 5)
    assert 200 == get(place.gateway.admin, "/readyz")[0]
    assert first == place.api("GET", "/api/policy")[1]["version"]
    replace(place.file, other := document("b", kept, changed, 7))
    until(lambda: named(other) == place.api("GET", "/api/policy")[1]["version"], 5)
    assert 1 == place.gateway.log().count("No such file or directory")
