"""Start the real Triton on this machine's loopback with some of the example models, and stop it without leaving a trace.

`python3 serving-image/triton.py` for people; `start(...)` for the demo and the tests, which run in the gateway's environment.
"""

import argparse
import atexit
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layout import DEFAULT_CACHE, Layout

DIGITS = ("digits_fast", "digits_balanced", "digits_accurate")
READY_SECONDS = 180.0  # 6 to 12 on a quiet machine; a busy one took 40
STOP_SECONDS = 15.0
SHARED_MEMORY = Path("/dev/shm")


class TritonError(Exception):
    """The server cannot be started, or died; the text says what to do."""


class AbortedError(TritonError):
    """It ended itself while it started."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Three free loopback ports; 0 means any."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002

    def claimed(self) -> "Ports":
        """Return the ports with every 0 replaced; raise TritonError naming each one that is taken."""
        chosen, taken = {}, []
        with contextlib.ExitStack() as held:  # all held at once, so that no free port is handed out twice
            for name in ("http", "grpc", "metrics"):
                probe = held.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", getattr(self, name)))
                    chosen[name] = probe.getsockname()[1]
                except OSError as error:
                    taken.append(f"--{name} {getattr(self, name)} ({str(error.strerror).lower()})")
        if taken:
            advice = "End what listens there (`ss -ltnp` shows it) or choose other ports; 0 takes any free one."
            raise TritonError(f"Triton cannot listen on 127.0.0.1: {', '.join(taken)}. {advice}")
        return Ports(**chosen)


@dataclass(slots=True)
class Server:
    """A running Triton: where it listens, what it has loaded, and its end."""

    ports: Ports
    models: tuple[str, ...]
    log: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)

    @property
    def http(self) -> str:
        """host:port of the Open Inference Protocol over HTTP."""
        return f"127.0.0.1:{self.ports.http}"

    @property
    def grpc(self) -> str:
        """host:port of the Open Inference Protocol over gRPC."""
        return f"127.0.0.1:{self.ports.grpc}"

    @property
    def metrics(self) -> str:
        """host:port of Triton's own Prometheus metrics."""
        return f"127.0.0.1:{self.ports.metrics}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def last_lines(self, count: int = 12) -> str:
        """Return the end of the server's log, where the reason stands if it died."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    | {line}" for line in lines[-count:])

    def stop(self) -> None:
        """End the server and its stubs and unlink their shared memory; harmless when it has ended already."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        # The group is its own, also the stubs of a server that was killed; but who was waited for may have given his number on.
        if self.process.returncode is None or not Path(f"/proc/{self.process.pid}").exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        unlink_segments(shared_memory_prefix(self.ports))
        atexit.unregister(self.stop)


def shared_memory_prefix(ports: Ports) -> str:
    """Name the segments after the HTTP port: only one server has it, so the next one may clear what a killed one left."""
    return f"penstock-triton-{ports.http}-"


def unlink_segments(prefix: str) -> None:
    """Remove shared memory that stubs did not get to remove."""
    for segment in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            segment.unlink()


def command(layout: Layout, ports: Ports, models: Sequence[str]) -> list[str]:
    """Return tritonserver's command line. All three addresses are given because their default is every interface."""
    listening = [
        *("--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"),
        *(f"--http-port={ports.http}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}"),
    ]
    return [
        str(layout.tritonserver),
        *listening,
        f"--model-repository={layout.repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        f"--backend-directory={layout.backends}",
        f"--cache-directory={layout.tritonserver.parent.parent / 'caches'}",
        "--backend-config=python,shm-default-byte-size=4194304",
        f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix(ports)}",
        "--disable-auto-complete-config",  # halves the start: completing runs every model.py, torch and all, once more
        "--allow-gpu-metrics=false",
    ]


def environment(layout: Layout) -> dict[str, str]:
    """Return the server's environment: its stub finds Python by the first `python3` on PATH and by LD_LIBRARY_PATH."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    libraries = (layout.libraries, layout.site_packages / "nvidia_pytriton.libs")
    return inherited | {
        "PATH": f"{layout.venv / 'bin'}:{inherited.get('PATH', '/usr/bin:/bin')}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def available(layout: Layout) -> tuple[str, ...]:
    """Return the models in the assembled repository; raise TritonError if there is none yet."""
    names = tuple(sorted(folder.name for folder in layout.repository.glob("*") if folder.is_dir()))
    if not names or not layout.libraries.exists():
        raise TritonError(f"nothing is installed in {layout.cache} yet: run `python3 serving-image/install.py`")
    return names


def start(
    ports: Ports = Ports(),
    models: Sequence[str] = DIGITS,
    layout: Layout = Layout(),  # noqa: B008 - frozen
    say: Callable[[str], None] = print,
) -> Server:
    """Start Triton with these models and return when it answers; raise TritonError with the reason when it does not.

    `say` gets progress lines. Stop the server with `.stop()` or by leaving its `with` block; at exit it is stopped anyway.
    """
    unknown = sorted(set(models) - set(available(layout)))
    if unknown:
        raise TritonError(f"no such model: {', '.join(unknown)}; there are {', '.join(available(layout))}")
    try:
        return _start(ports.claimed(), models, layout, say)
    except AbortedError as error:  # a stub was slow to take a lock: seen on machines that stood still for a second
        say(f"    {str(error).partition(':')[0]}; starting it once more")
        return _start(ports.claimed(), models, layout, say)


def _start(claimed: Ports, models: Sequence[str], layout: Layout, say: Callable[[str], None]) -> Server:
    unlink_segments(shared_memory_prefix(claimed))
    log = layout.cache / f"triton-{claimed.http}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(layout, claimed, models),
            env=environment(layout),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches the starter alone, which then stops the server in order
        )
    server = Server(claimed, tuple(models), log, process)
    atexit.register(server.stop)
    try:
        wait_until_ready(server, say)
    except BaseException:
        server.stop()
        raise
    return server


def wait_until_ready(server: Server, say: Callable[[str], None]) -> None:
    """Return when every model answers; raise TritonError when the server ended or took too long."""
    begin = spoken = time.monotonic()
    while not is_ready(server.ports.http):
        now = time.monotonic()
        if server.process.poll() is not None:
            reason = f"Triton ended with status {server.process.returncode} before it was ready"
            kind = AbortedError if server.process.returncode == -signal.SIGABRT else TritonError
            raise kind(f"{reason}:\n{server.last_lines()}\n    whole log: {server.log}")
        if now - begin > READY_SECONDS:
            raise TritonError(
                f"Triton was not ready after {READY_SECONDS:.0f} s:\n{server.last_lines()}\n    whole log: {server.log}"
            )
        if now - spoken >= 2:
            loaded = server.log.read_bytes().count(b"successfully loaded")
            say(f"    Triton: {loaded} of {len(server.models)} models loaded after {now - begin:.0f} s")
            spoken = now
        time.sleep(0.05)
    say(f"    Triton is ready on {server.http} (HTTP) and {server.grpc} (gRPC) after {time.monotonic() - begin:.1f} s")


def is_ready(port: int) -> bool:
    """Ask /v2/health/ready, which is 200 once every model asked for is loaded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def port_number(text: str) -> int:
    """Read a port from the command line; argparse reports the ValueError."""
    if not 0 <= (port := int(text)) <= 65535:
        raise ValueError(text)
    return port


def main() -> int:
    """Command line: start, print where, stay until SIGINT or SIGTERM; exit 1 when the server cannot start or dies."""
    parser = argparse.ArgumentParser(description="Start the real Triton on 127.0.0.1 and stay until Ctrl-C or SIGTERM.")
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        parser.add_argument(
            f"--{name}", type=port_number, default=port, metavar="PORT", help=f"default {port}; 0 takes any free port"
        )
    parser.add_argument(
        "--models", default=",".join(DIGITS), help="names with commas between them, or `all` (default: %(default)s)"
    )
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="build folder of install.py")
    given = parser.parse_args()
    layout = Layout(given.cache.resolve())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both signals unwind through `with`
    try:
        models = available(layout) if given.models == "all" else tuple(given.models.split(","))
        with start(Ports(given.http, given.grpc, given.metrics), models, layout, lambda line: print(line, flush=True)) as server:
            status = server.process.wait()
            raise TritonError(f"Triton ended by itself with status {status}:\n{server.last_lines()}")
    except TritonError as error:
        print(f"triton.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
