"""The programs that are compared, configured and started for real where they are installed."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest import backend, drivers, peers, processes, traffic
from loadtest.peers import Place

SERVERS = "/usr/sbin:/usr/bin:/usr/local/sbin"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder and a running backend."""
    if shutil.which("nginx", path=SERVERS) is None:
        pytest.skip("needs nginx")
    cores = processes.cores()
    running, port = backend.start(tmp_path, cores.load)
    yield Place(tmp_path, port, cores.subject)
    running.stop()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_plain_proxy_passes_the_fixed_answer_on(name: str, place: Place) -> None:
    """The same right labels come through, and the program says its version."""
    if shutil.which(name, path=SERVERS) is None:
        pytest.skip(f"needs {name}")
    peer = next(peer for peer in peers.PEERS if peer.name == name)
    started = peer.start(place)
    try:
        drivers.check_http(started.port, traffic.question("binary"), started.headers)
    finally:
        started.running.stop()
    assert name in started.version.lower()


@pytest.mark.slow
def test_penstock_answers_every_kind_of_traffic_it_is_measured_with(place: Place) -> None:
    """Binary, JSON and the cascade over HTTP, and gRPC, each with the right label for every row."""
    started = peers.start_penstock(place)
    try:
        for name in ("binary", "json", "cascade"):
            drivers.check_http(started.port, traffic.question(name), started.headers)
        answer_bytes = drivers.check_grpc(started.grpc_port or 0, traffic.grpc_frame(), started.headers)
    finally:
        started.running.stop()
    assert answer_bytes > 5


def test_a_proxy_that_does_not_come_up_leaves_no_process(tmp_path: Path) -> None:
    """A configuration that cannot work is reported with the program's own words."""
    if shutil.which("haproxy", path=SERVERS) is None:
        pytest.skip("needs haproxy")
    broken = dataclasses.replace(Place(tmp_path, 0, processes.cores().subject), backend_port=99999999)
    with pytest.raises(processes.StartError, match="haproxy exited with 1"):
        peers.start_haproxy(broken)
