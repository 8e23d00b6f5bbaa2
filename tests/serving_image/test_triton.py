"""The starter asks for loopback only, names what is wrong, and leaves nothing behind."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import triton
from layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A build folder that looks installed, whose server is a shell script the test writes."""
    made = Layout(tmp_path)
    server = made.venv / "lib/python3.11/site-packages/pytriton/tritonserver/bin/tritonserver"
    for folder in (server.parent, made.libraries, made.repository / "simple"):
        folder.mkdir(parents=True)
    server.write_text("#!/bin/sh\necho 'error: this server only dies'; exit 7\n")
    server.chmod(0o755)
    return made


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_zero_takes_three_different_free_ports() -> None:
    """Tests can run side by side."""
    ports = triton.Ports(0, 0, 0).claimed()
    assert 3 == len({ports.http, ports.grpc, ports.metrics})


def test_a_port_in_use_is_named(taken: int) -> None:
    """The error says which of the three ports it is and how to go on."""
    with pytest.raises(triton.TritonError, match=rf"--grpc {taken} \(address already in use\).*0 takes any free one"):
        triton.Ports(0, taken, 0).claimed()


def test_every_listener_is_on_loopback(layout: Layout) -> None:
    """Triton's defaults bind every interface, so all three addresses are given."""
    line = triton.command(layout, triton.Ports(1, 2, 3), ["a", "b"])
    assert 3 == sum(argument.endswith("-address=127.0.0.1") for argument in line)
    assert ["--load-model=a", "--load-model=b"] == [argument for argument in line if argument.startswith("--load-model")]
    assert str(layout.tritonserver) == line[0]


def test_the_server_finds_its_own_python(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PYTHONPATH of the gateway's never reaches the stub."""
    monkeypatch.setenv("PYTHONPATH", "/gateway")
    seen = triton.environment(layout)
    assert "PYTHONPATH" not in seen
    assert seen["PATH"].startswith(f"{layout.venv}/bin:")


def test_a_server_that_dies_shows_its_last_lines(layout: Layout) -> None:
    """The status and the log's end are in the error; nobody waits for the timeout."""
    with pytest.raises(triton.TritonError, match=r"(?s)status 7.*\| error: this server only dies"):
        triton.start(triton.Ports(0, 0, 0), ["simple"], layout)


def test_a_server_that_aborts_is_started_once_more(layout: Layout) -> None:
    """And that is said; the second time it is an error like any other."""
    layout.tritonserver.write_text(f"#!/bin/sh\necho began >>{layout.cache}/starts; kill -ABRT $$\n")
    said: list[str] = []
    with pytest.raises(triton.TritonError, match="status -6"):
        triton.start(triton.Ports(0, 0, 0), ["simple"], layout, said.append)
    assert ["    Triton ended with status -6 before it was ready; starting it once more"] == said
    assert "began\nbegan\n" == (layout.cache / "starts").read_text()


def test_an_unknown_model_is_refused_before_anything_starts(layout: Layout) -> None:
    """The error lists the models there are."""
    with pytest.raises(triton.TritonError, match="no such model: nope; there are simple"):
        triton.start(models=["nope"], layout=layout)


def test_nothing_installed_says_what_to_run(tmp_path: Path) -> None:
    """The command is in the error."""
    with pytest.raises(triton.TritonError, match=r"python3 serving-image/install\.py"):
        triton.start(layout=Layout(tmp_path))


def test_stop_leaves_whoever_has_its_number_by_now(tmp_path: Path) -> None:
    """Numbers of processes come again."""
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    other = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    try:
        ended.pid = other.pid
        triton.Server(triton.Ports(0, 0, 0).claimed(), ("simple",), tmp_path / "log", ended).stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_stop_ends_the_process_and_unlinks_its_shared_memory_twice_over(tmp_path: Path) -> None:
    """A server that ended is stopped as calmly as one that runs, and segments of other ports stay."""
    ports = triton.Ports(0, 0, 0).claimed()
    mine = triton.SHARED_MEMORY / f"{triton.shared_memory_prefix(ports)}test"
    other = triton.SHARED_MEMORY / f"{triton.shared_memory_prefix(ports)[:-1]}9-test"
    process = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    try:
        mine.touch()
        other.touch()
        server = triton.Server(ports, ("simple",), tmp_path / "log", process)
        server.stop()
        server.stop()
        assert -signal.SIGINT == process.returncode
        assert (False, True) == (mine.exists(), other.exists())
    finally:
        other.unlink(missing_ok=True)
