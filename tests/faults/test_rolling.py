"""Workers are replaced under load, killed, and told to end: no client hears of it, but for who was in flight at a killed one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.crew import Crew, configured, gone, running, serving
from tests.faults.figures import LONG, Figures
from tests.faults.steady import steady
from tests.real_parts import answers, free_ports, until

pytestmark = pytest.mark.slow

ROLLS, REQUESTS = (10, 20_000) if LONG else (2, 2_000)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    """Two workers that serve, and leave idle clients their next request when they end."""
    with serving() as backend, running(tmp_path, backend, drain={"notice": "0s", "idle": "1s", "grace": "10s"}) as made:
        yield made


def rolled(crew: Crew, times: int) -> None:
    """Waits until all workers have been replaced so often."""
    until(lambda: times == crew.gateway.log().count("2 workers replaced"), 60)


def test_rolling_restarts_lose_nothing(crew: Crew, figures: Figures) -> None:
    """Whoever connects anew, keeps a connection or has a channel; each worker is another one afterwards."""
    before = crew.workers()
    with steady(crew.gateway.http, crew.gateway.grpc, new=4, kept=4, grpc=4) as clients:
        for number in range(1, ROLLS + 1):
            crew.signal(signal.SIGUSR2)
            rolled(crew, number)
        until(lambda: clients.count >= REQUESTS, 120)
    figures.none_of("Drain", f"requests that fail in {ROLLS} rolling restarts", sum(clients.failed.values()), clients.count)
    assert {"new", "kept", "grpc"} == {kind for kind, _ in clients.told}
    assert before.isdisjoint(crew.workers())
    assert 2 == crew.gateway.metric("penstock_workers")
    assert clients.count == crew.requests()
    assert 0 == crew.gateway.metric("penstock_worker_ends_total")


def test_a_killed_worker_loses_what_it_had_and_no_more(crew: Crew, figures: Figures) -> None:
    """Neither what the other one had, nor who was in its port's queue: the next one serves them, soon."""
    crew.hold(16)
    victim = min(crew.workers())
    os.kill(victim, signal.SIGSTOP)
    queued = [threading.Thread(target=crew.ask) for _ in range(16)]
    for thread in queued:
        thread.start()
    until(lambda: 16 < crew.backend.waiting)  # the other one has some of them
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    until(lambda: 2 == crew.gateway.metric("penstock_workers") and victim not in crew.workers())
    figures.within("Drain", "until a killed worker is back", time.monotonic() - begin, 2.0)
    until(lambda: 32 == crew.backend.waiting)  # in all: those of the one that was killed are the backend's still
    lost = 32 - int(crew.gateway.metric("penstock_in_flight"))
    told = crew.released()
    for thread in queued:
        thread.join()
    assert Counter({(200, "default"): 32 - lost, (0, ""): lost}) == Counter(crew.told), told
    assert 0 < lost < 17
    figures.none_of("Drain", "requests lost by a killed worker that it had not begun", max(0, lost - 16), 16)


def test_a_worker_told_to_end_is_replaced_first(crew: Crew) -> None:
    """By anybody who sends it SIGTERM; under load, and nobody notices."""
    before = crew.workers()
    with steady(crew.gateway.http, crew.gateway.grpc, new=4, kept=2, grpc=2) as clients:
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        until(lambda: before.isdisjoint(crew.workers()))
        since = clients.count
        until(lambda: clients.count > since + 100)
    assert {} == clients.failed
    assert clients.count == crew.requests()


def test_a_replacement_takes_what_the_file_says_now(crew: Crew) -> None:
    """Or, where it is broken or says what only a restart can change, nothing: those who serve go on, and the line is said."""
    written = crew.gateway.folder / "gateway.yaml"
    document = json.loads(written.read_text())
    before, body = crew.workers(), {"limits": {"body": "1KiB"}}
    for broken, said in (
        ("workers: 2\nlimits: {body: 1KiB, bdy: 2}", "gateway.yaml:2: limits.bdy: unknown key 'bdy'"),
        (json.dumps({**document, "workers": 3}), "workers: changes with a restart only"),
        (json.dumps({**document, "auth": {"anonymous": True, "api_keys": "none.yaml"}}), "none.yaml: cannot be read"),
    ):
        written.write_text(broken)
        refusals = crew.gateway.log().count("workers not replaced, those that run go on")
        crew.signal(signal.SIGUSR2)
        until(lambda: refusals < crew.gateway.log().count("workers not replaced, those that run go on"))  # noqa: B023
        assert said in crew.gateway.log().splitlines()[-1]
        until(lambda: before == crew.workers())  # the one that could not start is on its way out
    assert {(200, "default")} == set(crew.many(10))
    written.write_text(json.dumps({**document, **body}))
    crew.signal(signal.SIGUSR2)
    rolled(crew, 1)
    connection = http.client.HTTPConnection(crew.gateway.http, timeout=5)
    connection.request("POST", "/v2/models/m/infer", b"x" * 2000)
    assert 413 == connection.getresponse().status
    connection.close()


def test_a_replacement_can_be_cut_short(crew: Crew) -> None:
    """SIGTERM while a worker is being replaced, whose requests are held: all of them end in order."""
    crew.hold(8)
    before = crew.workers()
    crew.signal(signal.SIGUSR2)
    until(lambda: 3 == len(crew.workers()))
    everybody = crew.workers() | before
    crew.signal(signal.SIGTERM)
    until(lambda: not answers(crew.gateway.http, "/v2/health/live"))
    assert [(200, "default")] * 8 == crew.released()
    assert 0 == crew.gateway.process.wait(10)
    assert gone(everybody)


@pytest.mark.parametrize("workers", [1, 2] if LONG else [1])
def test_one_gateway_takes_the_place_of_another(tmp_path: Path, workers: int) -> None:
    """On the same ports (listen.shared), with whatever code and configuration it has; no client notices."""
    with serving() as backend:
        addresses = configured(tmp_path, backend)
        ends = {"notice": "200ms", "idle": "300ms", "grace": "10s"}
        crews: list[Crew] = []
        with contextlib.ExitStack() as held:

            def begin(folder: Path, port: int) -> None:
                folder.mkdir()
                listen = {**addresses, "admin": f"127.0.0.1:{port}", "shared": True}
                crews.append(held.enter_context(running(folder, backend, workers=workers, listen=listen, drain=ends)))

            blue, green = free_ports(2)
            begin(tmp_path / "blue", blue)
            clients = held.enter_context(steady(addresses["http"], addresses["grpc"], new=4, kept=4, grpc=4))
            begin(tmp_path / "green", green)
            until(lambda: 0 < crews[1].requests())
            crews[0].signal(signal.SIGTERM)
            until(lambda: not answers(crews[0].gateway.admin, "/readyz"))
            assert 0 == crews[0].gateway.process.wait(15)
            since = clients.count
            until(lambda: clients.count > since + 100)
            clients.over.set()
            assert {} == clients.failed
