"""Penstock in each shape it is measured in, for real."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest import backend, drivers, penstock, processes, traffic
from loadtest.peers import PEERS
from loadtest.processes import Place

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder and a running backend."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("needs nginx")
    cores = processes.cores()
    running, port = backend.start(tmp_path, {cores.load})
    yield Place(tmp_path, port, frozenset({cores.subject}))
    running.stop()


@pytest.mark.parametrize("name", ["penstock", "penstock-bare", "penstock+log"])
def test_it_answers_everything_it_is_measured_with(name: str, place: Place) -> None:
    """Every row's traffic with its credential, each with the right label for every row."""
    peer = next(peer for peer in PEERS if peer.name == name)
    started = peer.start(place)
    try:
        for ask in peer.asks:
            headers = started.credentials[ask.credential]
            if ask.traffic == "grpc":
                drivers.check_grpc(started.grpc_port or 0, traffic.grpc_frame(), headers)
            else:
                drivers.check_http(started.port, traffic.question(ask.traffic), headers)
    finally:
        started.running.stop()


@pytest.mark.parametrize("headers", [(), (("X-API-Key", "pk_0000_" + "a" * 64),), (("Authorization", "Bearer a.b.c"),)])
def test_without_a_credential_that_holds_the_full_one_refuses(headers: drivers.Headers, place: Place) -> None:
    """Else its rows would not pay for the credential they are named for."""
    started = penstock.start(place)
    try:
        with pytest.raises(drivers.WrongAnswerError, match="status 401"):
            drivers.check_http(started.port, traffic.question("1k"), headers)
    finally:
        started.running.stop()


def test_the_access_log_is_written_where_the_row_says_so(place: Place) -> None:
    """One line for the one request that was made."""
    started = penstock.start(place, penstock.LOGGED)
    try:
        drivers.check_http(started.port, traffic.question("1k"), started.credentials["key"])
        started.running.wait_ready(lambda: '"path":"/v2/models/digits_1k/infer"' in started.running.log_tail(), seconds=5)
    finally:
        started.running.stop()
