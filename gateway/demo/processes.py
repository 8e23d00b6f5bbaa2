"""Starts the real Triton and `penstock serve` before it, waits until both answer, and ends both again whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.demo.credentials import ALGORITHM, AUDIENCE, ISSUER, Issuer, api_key
from gateway.demo.expect import StartError, equal

ROOT = Path(__file__).resolve().parents[2]
SERVING_IMAGE = ROOT / "serving-image"
EXAMPLES = ("simple", "simple_string", "simple_identity", "repeat_int32")
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


RESTING = range(20_000, 32_000)  # below where Linux takes the ports of sockets that connect (ip_local_port_range)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens on 127.0.0.1; 0 takes any free port. The names are the command line's."""

    http: int = 8080
    grpc: int = 8081
    admin: int = 8082
    triton_http: int = 8000
    triton_grpc: int = 8001
    triton_metrics: int = 8002

    def claimed(self) -> Ports:
        """Every 0 replaced. Raises StartError that names each port somebody has, before anything is started."""
        chosen, taken = {}, []
        with contextlib.ExitStack() as held:  # all at once, so that no free port is handed out twice
            for name in self.__slots__:
                probe = held.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is no port in use
                try:
                    _bind(probe, getattr(self, name))
                    chosen[name] = probe.getsockname()[1]
                except OSError as error:
                    option = f"--{name.replace('_', '-')}"
                    taken.append(f"    port {getattr(self, name)} ({option}): {(error.strerror or str(error)).lower()}")
        if taken:
            listed = "\n".join(taken)
            raise StartError(
                f"these ports of 127.0.0.1 cannot be had:\n{listed}\n"
                "  End what listens there (`ss -ltnp` shows it; `make serve` still up?), or choose others:\n"
                "    make demo OPTIONS=--free-ports     any free port for everything\n"
                '    make demo OPTIONS="--http 9080"    one of them by name'
            )
        return Ports(**chosen)


def _bind(probe: socket.socket, port: int) -> None:
    """Raises OSError. For 0 a free one of which clients' own sockets are none: Triton loads for seconds before it takes its."""
    for tried in () if port else random.sample(RESTING, 50):
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", tried))
            return
    probe.bind(("127.0.0.1", port))


def start_triton(ports: Ports, say: Callable[[str], None]) -> Any:
    """The serving image's `triton.Server` with the models that config/policy.yaml names. Raises StartError."""
    if not SERVING_IMAGE.is_dir():
        raise StartError(f"{SERVING_IMAGE} is not there: the demo runs in a clone of the repository")
    if str(SERVING_IMAGE) not in sys.path:
        sys.path.append(str(SERVING_IMAGE))  # programs in a folder, no package
    import triton

    try:
        wanted = triton.Ports(ports.triton_http, ports.triton_grpc, ports.triton_metrics)
        return triton.start(wanted, (*triton.DIGITS, *EXAMPLES), say=say)
    except triton.TritonError as error:
        raise StartError(str(error)) from error


@dataclass(slots=True)
class Gateway:
    """A `penstock serve` that answers: its addresses (host:port), its files, its end."""

    folder: Path
    policy: Path  # which it reads again on SIGHUP
    http: str
    grpc: str
    admin: str
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def access_log(self) -> Path:
        """One JSON line for every request."""
        return self.folder / "access.log"

    def log(self, lines: int = 12) -> str:
        """The end of what it said on standard error."""
        found = (self.folder / "gateway.log").read_text(errors="replace").splitlines()
        return "\n".join(f"    | {line}" for line in found[-lines:])

    def reload(self) -> None:
        """Asks it to take its policy file into use."""
        self.process.send_signal(signal.SIGHUP)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples that have these labels."""
        _, text = get(self.admin, "/metrics")
        return sum(value for found, value in samples(text.decode(), name) if labels.items() <= found.items())

    def api(self, path: str, headers: Mapping[str, str]) -> Any:
        """What the admin API answers to a GET. Raises WrongError for anything but 200."""
        status, body = _request(self.admin, "GET", path, headers)
        equal(f"status of GET {path}", 200, status)
        return json.loads(body)

    def stop(self) -> int:
        """Ends it in order and returns its status; harmless when it has ended already."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(STOP_SECONDS)
            self.process.kill()
        return self.process.wait()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What clients of this start send: a key of the tier `free`, one of `enterprise`, and whoever signs tokens."""

    free: Mapping[str, str]
    enterprise: Mapping[str, str]
    issuer: Issuer


def make_credentials(folder: Path) -> Credentials:
    """Fresh ones; the folder then holds the key set and the keys' hashes."""
    keys = folder / "api-keys.yaml"
    return Credentials(api_key(keys, "free"), api_key(keys, "enterprise"), Issuer(folder / "jwks.json"))


def start_gateway(folder: Path, ports: Ports, policy: Path) -> Gateway:
    """A gateway on loopback under that policy, with the folder's credentials, once ready. Raises StartError with its log."""
    addresses = {name: f"127.0.0.1:{getattr(ports, name)}" for name in ("http", "grpc", "admin")}
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(folder / "jwks.json"), "algorithms": [ALGORITHM]}
    auth = {"jwt": [issuer], "api_keys": str(folder / "api-keys.yaml"), "anonymous": False}
    configuration = folder / "gateway.yaml"
    drain = {"notice": "0s", "idle": "1s", "grace": "5s"}
    configuration.write_text(json.dumps({"listen": addresses, "auth": auth, "drain": drain}, indent=1))  # JSON is YAML
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(configuration), "--policy", str(policy)]
    with (folder / "access.log").open("wb") as access, (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=access,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends the gateway in order
        )
    gateway = Gateway(folder, policy, **addresses, process=process)
    try:
        _wait_until_ready(gateway)
    except BaseException:
        gateway.stop()
        raise
    return gateway


def _wait_until_ready(gateway: Gateway) -> None:
    end = time.monotonic() + READY_SECONDS
    while not _ready(gateway.admin):
        if gateway.process.poll() is not None:
            raise StartError(f"the gateway ended with status {gateway.process.returncode}:\n{gateway.log()}")
        if time.monotonic() > end:
            raise StartError(f"the gateway was not ready after {READY_SECONDS:g} s:\n{gateway.log()}")
        time.sleep(0.02)


def _ready(admin: str) -> bool:
    try:
        return get(admin, "/readyz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def get(address: str, path: str) -> tuple[int, bytes]:
    """Status and body of a GET. Raises OSError where nobody answers."""
    return _request(address, "GET", path, {})


def post(address: str, path: str) -> tuple[int, bytes]:
    """The same of a POST with an empty JSON object."""
    return _request(address, "POST", path, {})


def _request(address: str, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def samples(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each sample of that name in Prometheus' text format."""
    found = (_SAMPLE.fullmatch(line) for line in text.splitlines() if line.startswith(name))
    return [(dict(_LABEL.findall(each[2] or "")), float(each[3])) for each in found if each and each[1] == name]
