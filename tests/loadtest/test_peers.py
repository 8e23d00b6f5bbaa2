"""The programs that are compared, configured and started for real where they are installed."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest import backend, drivers, peers, processes, traffic
from loadtest.processes import Place

SERVERS = "/usr/sbin:/usr/bin:/usr/local/sbin"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder and a running backend."""
    if shutil.which("nginx", path=SERVERS) is None:
        pytest.skip("needs nginx")
    cores = processes.cores()
    running, port = backend.start(tmp_path, {cores.load})
    yield Place(tmp_path, port, frozenset({cores.subject}))
    running.stop()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_plain_proxy_passes_the_fixed_answer_on(name: str, place: Place) -> None:
    """The same right labels come through, and the program says its version."""
    if shutil.which(name, path=SERVERS) is None:
        pytest.skip(f"needs {name}")
    peer = next(peer for peer in peers.PEERS if peer.name == name)
    started = peer.start(place)
    try:
        for size in ("1k", "150k"):
            drivers.check_http(started.port, traffic.question(size), started.credentials[""])
    finally:
        started.running.stop()
    assert name in started.version.lower()


@pytest.mark.slow
def test_envoy_leaves_nothing_in_shared_memory(place: Place) -> None:
    """A segment for each start, which nobody removes, would fill the memory of a machine that measures often."""
    if not (peers.ENVOY_VENV / "bin" / "envoy").exists():
        pytest.skip("needs Envoy (the first `make bench` installs it)")
    before = set(Path("/dev/shm").iterdir())
    started = peers.start_envoy(place)
    try:
        drivers.check_http(started.port, traffic.question("1k"), ())
    finally:
        started.running.stop()
    assert not [path for path in set(Path("/dev/shm").iterdir()) - before if "envoy" in path.name]


def test_every_row_is_compared_with_plain_proxies_that_are_asked_the_same_size() -> None:
    """No two rows have one name and traffic, and every `beside` is traffic that each plain proxy gets."""
    asks = [ask for peer in peers.PEERS for ask in peer.asks]
    assert len(asks) == len({(ask.program, ask.traffic) for ask in asks})
    for name in ("nginx", "haproxy", "envoy"):
        assert {ask.beside for ask in asks} == {ask.traffic for ask in asks if ask.program == name}


def test_a_proxy_that_does_not_come_up_leaves_no_process(tmp_path: Path) -> None:
    """A configuration that cannot work is reported with the program's own words."""
    if shutil.which("haproxy", path=SERVERS) is None:
        pytest.skip("needs haproxy")
    broken = dataclasses.replace(Place(tmp_path, 0, frozenset({processes.cores().subject})), backend_port=99999999)
    with pytest.raises(processes.StartError, match="haproxy exited with 1"):
        peers.start_haproxy(broken)
