"""Several workers under one parent, really killed, stopped and misled: the others go on, and nothing is left over."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.faults.crew import Crew, gone, policy, running, serving
from tests.real_parts import answers, until

pytestmark = pytest.mark.slow


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    """Two workers that serve."""
    with serving() as backend, running(tmp_path, backend) as made:
        yield made


def test_both_workers_answer_on_both_ports(crew: Crew) -> None:
    """New connections are dealt out; operators see one gateway."""
    assert {(200, "default")} == set(crew.many(40))
    assert 40 == crew.requests()
    assert 2 == crew.gateway.metric("penstock_workers")
    assert 1 == crew.gateway.metric("penstock_policy_info")
    assert 1 == crew.gateway.metric("penstock_policy_reloads_total", result="ok")
    for _ in range(20):
        with grpc.insecure_channel(crew.gateway.grpc, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            live: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert b"\x08\x01" == live(b"", timeout=5)
    log = crew.gateway.folder / "access.log"
    until(lambda: 40 == log.read_text().count('"model":"m"'))
    assert 2 == len({json.loads(line)["request_id"].partition("-")[0] for line in log.read_text().splitlines()})


def test_a_killed_worker_is_replaced_and_its_counts_stay(crew: Crew) -> None:
    """The other goes on answering meanwhile, and no total falls."""
    crew.many(30)
    before = crew.requests()
    victim, survivor = sorted(crew.workers())
    os.kill(victim, signal.SIGKILL)
    until(lambda: 2 == len(crew.workers() - {victim}) and 2 == crew.gateway.metric("penstock_workers"), 5)
    assert survivor in crew.workers()
    assert 30 == before == crew.requests()
    assert 1 == crew.gateway.metric("penstock_worker_ends_total")
    assert {(200, "default")} == set(crew.many(30))
    assert 60 == crew.requests()


def test_while_no_worker_lives_the_port_is_kept(crew: Crew) -> None:
    """Nobody else can take it, operators are told, and soon they are back."""
    for pid in crew.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: 0 < crew.gateway.metric("penstock_worker_ends_total"))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", int(crew.gateway.http.rpartition(":")[2])))
    until(lambda: 2 == crew.gateway.metric("penstock_workers"), 5)
    assert {(200, "default")} == set(crew.many(10))


def test_a_hung_worker_holds_no_scrape_and_is_replaced(crew: Crew) -> None:
    """Its last counts stand in; when it has not answered for a while, it is killed."""
    crew.many(20)
    assert 20 == crew.requests()
    victim = min(crew.workers())
    os.kill(victim, signal.SIGSTOP)
    begin = time.monotonic()
    assert 20 == crew.requests()
    assert time.monotonic() - begin < 3
    until(lambda: victim not in crew.workers() and 2 == crew.gateway.metric("penstock_workers"), 40)
    assert "does not answer and is killed" in crew.gateway.log()
    assert 20 == crew.requests()


def test_workers_that_die_while_metrics_are_read_count_once(crew: Crew) -> None:
    """By what they told last, in the answer that waits for them and ever after."""
    crew.many(20)
    assert 20 == crew.requests()
    victims = crew.workers()
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor() as scraper:
        scrape = scraper.submit(crew.requests)
        time.sleep(0.3)  # it is under way, and waits for them
        assert not scrape.done()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        assert 20 == scrape.result(5)
    until(lambda: 2 == crew.gateway.metric("penstock_worker_ends_total") and 2 == crew.gateway.metric("penstock_workers"), 5)
    assert 20 == crew.requests()


def test_sighup_reaches_every_worker_or_none(crew: Crew) -> None:
    """A good policy is everybody's; a broken one is nobody's, not even of a worker that starts later."""
    crew.gateway.write_policy(policy(crew.backend, "second"))
    crew.signal(signal.SIGHUP)
    until(lambda: {(200, "second")} == set(crew.many(12)))
    assert 1 == crew.gateway.metric("penstock_policy_info")
    crew.gateway.write_policy("version: 1\nmodels: {")
    crew.signal(signal.SIGHUP)
    until(lambda: 1 == crew.gateway.metric("penstock_policy_reloads_total", result="refused"))
    assert 1 == crew.gateway.log().count("policy not taken")
    assert 2 == crew.gateway.metric("penstock_policy_reloads_total", result="ok")
    for pid in crew.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: 2 == crew.gateway.metric("penstock_worker_ends_total") and 2 == crew.gateway.metric("penstock_workers"))
    assert {(200, "second")} == set(crew.many(12))
    assert 1 == crew.gateway.metric("penstock_policy_info")


def test_the_grace_is_not_for_ever(crew: Crew) -> None:
    """Who is not answered when it is over (3 s here) is let go."""
    crew.hold(4)
    pids, begin = crew.workers(), time.monotonic()
    crew.signal(signal.SIGTERM)
    assert 0 == crew.gateway.process.wait(10)
    assert 2.9 < time.monotonic() - begin < 6
    assert gone(pids)
    crew.released()


def test_workers_end_in_order_without_their_parent(crew: Crew) -> None:
    """It is killed outright: what is in flight is answered, nothing new is taken, and the port is free."""
    crew.hold(8)
    pids = crew.workers()
    crew.signal(signal.SIGKILL)
    until(lambda: not answers(crew.gateway.http, "/v2/health/live"))
    assert not gone(pids)
    assert [(200, "default")] * 8 == crew.released()
    until(lambda: gone(pids))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(crew.gateway.http.rpartition(":")[2])))
