"""Starts the real parts that tests need: a Triton out of the serving image, and `penstock serve` as operators start it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm
from prometheus_client.parser import text_string_to_metric_families

from gateway.demo.processes import RESTING

ROOT = Path(__file__).parent.parent
PENSTOCK = (sys.executable, "-m", "gateway")  # `penstock`, of this very checkout
sys.path.append(str(ROOT / "serving-image"))  # scripts in a folder, no package

import triton as triton_script  # noqa: E402  found by the line above
from layout import Layout  # noqa: E402

Triton = triton_script.Server
TritonPorts = triton_script.Ports
ISSUER, AUDIENCE = "https://id.test", "penstock"
COSTS = {"fast": 1, "balanced": 6, "accurate": 40}
READY_SECONDS = 20.0


def start_triton(models: Sequence[str] = (), ports: TritonPorts | None = None) -> Triton:
    """A Triton with these models, or all there are; on free ports unless told which. Raises TritonError with what to run."""
    layout = Layout()
    wanted = tuple(models) or triton_script.available(layout)
    return triton_script.start(ports or TritonPorts(0, 0, 0), wanted, layout, say=lambda _: None)


def accepted() -> tuple[float, float]:
    """The thresholds that training chose on the validation rows."""
    first, second = json.loads(Layout().report.read_text())["cascade"]["validation"]["accept"]
    return first, second


def passed_through(model: str, backend: str, timeout: str = "10s") -> dict[str, Any]:
    """A public model that is one backend model under its own name."""
    return {
        "timeout": timeout,
        "variants": {model: {"backend": backend, "model": model}},
        "routes": [{"name": "default", "use": model}],
    }


def digits(backend: str) -> dict[str, Any]:
    """The cascade for everybody, and the accurate model alone for the tier `enterprise`."""
    variants = {
        name: {"backend": backend, "model": f"digits_{name}", "version": "1", "cost": cost} for name, cost in COSTS.items()
    }
    first, second = accepted()
    cascade = {
        "confidence": {"output": "probabilities", "metric": "max-softmax"},
        "stages": [{"use": "fast", "accept": first}, {"use": "balanced", "accept": second}, {"use": "accurate"}],
    }
    enterprise = {"name": "enterprise", "match": {"tier": "enterprise"}, "use": "accurate"}
    return {"timeout": "10s", "variants": variants, "routes": [enterprise, {"name": "default", "cascade": cascade}]}


def policy(triton: Triton, protocol: str) -> dict[str, Any]:
    """A policy over everything that this Triton has, asked by `protocol`; what streams is asked over gRPC in any case."""
    models = {name: passed_through(name, "triton") for name in triton.models if not name.startswith("digits_")}
    if "repeat_int32" in models:
        models["repeat_int32"] = passed_through("repeat_int32", "streams")
    if "digits_fast" in triton.models:
        models["digits"] = digits("triton")
    asked = {
        "triton": {"protocol": protocol, "endpoints": [triton.http if protocol == "triton-http" else triton.grpc]},
        "streams": {"protocol": "triton-grpc", "endpoints": [triton.grpc]},
    }
    used = {variant["backend"] for model in models.values() for variant in model["variants"].values()}
    return {"version": 1, "backends": {name: asked[name] for name in asked if name in used}, "models": models}


class Issuer:
    """Whoever gives out tokens; the public key lies in a file for the gateway."""

    def __init__(self, folder: Path) -> None:
        self._private = ed25519.Ed25519PrivateKey.generate()
        self.jwks = folder / "jwks.json"
        key = {**OKPAlgorithm.to_jwk(self._private.public_key(), as_dict=True), "kid": "k1", "alg": "EdDSA", "use": "sig"}
        self.jwks.write_text(json.dumps({"keys": [key]}))

    def token(self, **claims: Any) -> str:
        """A token that holds for ten minutes, but for the claims given."""
        now = int(time.time())
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 600, "scope": "models:infer", "tier": "free"}
        return jwt.encode({**good, **claims}, self._private, algorithm="EdDSA", headers={"kid": "k1"})


@dataclass
class GatewayProcess:
    """A `penstock serve` that answers: its addresses (host:port), its API key, and its end."""

    folder: Path
    protocol: str
    http: str
    grpc: str
    admin: str
    key: str
    issuer: Issuer
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def credential(self) -> dict[str, str]:
        """The key as headers or metadata; a new one each time, because tritonclient writes into what it is given."""
        return {"x-api-key": self.key}

    def bearer(self, **claims: Any) -> dict[str, str]:
        """A token as headers or metadata."""
        return {"authorization": f"Bearer {self.issuer.token(**claims)}"}

    def log(self) -> str:
        """What it said on standard error."""
        return (self.folder / "gateway.log").read_text()

    def samples(self) -> dict[str, list[tuple[Mapping[str, str], float]]]:
        """Every metric by name: labels and value."""
        status, text = get(self.admin, "/metrics")
        assert 200 == status
        found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples that have these labels."""
        samples = self.samples().get(name, [])
        return sum(value for found, value in samples if labels.items() <= found.items())

    def idle(self) -> bool:
        """Whether no backend holds a question."""
        return 0 == self.metric("penstock_in_flight")

    def write_policy(self, document: Mapping[str, Any] | str) -> None:
        """Puts a policy into the file; SIGHUP takes it into use."""
        (self.folder / "policy.yaml").write_text(document if isinstance(document, str) else json.dumps(document))

    def stop(self) -> int:
        """Ends it in order and returns its status; harmless when it has ended already."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def new_key(folder: Path) -> str:
    """A key made as operators make it, its hash in the folder's key file."""
    who = ["--subject", "tests", "--tenant", "acme", "--tier", "free", "--scope", "models:infer"]
    command = [*PENSTOCK, "keys", "new", *who, "--file", str(folder / "api-keys.yaml")]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now, all different; none that a socket which connects is given meanwhile."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(RESTING, 100 + count):
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports")


def start_gateway(
    folder: Path, document: Mapping[str, Any], grace: str = "2s", settings: Mapping[str, Any] = {}
) -> GatewayProcess:
    """A gateway process under this policy, once it is ready. Raises RuntimeError with its log when it never is.

    `settings` stand in gateway.yaml beside what is the same for all.
    """
    issuer = Issuer(folder)
    key = new_key(folder)
    addresses = dict(zip(("http", "grpc", "admin"), (f"127.0.0.1:{port}" for port in free_ports(3)), strict=True))
    accepted_issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(issuer.jwks), "algorithms": ["EdDSA"]}
    configuration = {
        "listen": addresses,
        "auth": {"jwt": [accepted_issuer], "api_keys": str(folder / "api-keys.yaml"), "anonymous": False},
        "drain": {"notice": "0s", "idle": "0s", "grace": grace},
        **settings,
    }
    (folder / "gateway.yaml").write_text(json.dumps(configuration))  # JSON is YAML
    (folder / "policy.yaml").write_text(json.dumps(document))
    command = [*PENSTOCK, "serve", "--config", str(folder / "gateway.yaml"), "--policy", str(folder / "policy.yaml")]
    with (folder / "access.log").open("wb") as access, (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=access, stderr=log, env=dict(os.environ))
    protocol = next(iter(document["backends"].values()))["protocol"]
    gateway = GatewayProcess(folder, protocol, **addresses, key=key, issuer=issuer, process=process)
    try:
        until(lambda: process.poll() is not None or answers(gateway.admin, "/readyz"), READY_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"penstock serve ended with status {process.returncode}")
    except BaseException as error:
        gateway.stop()
        raise RuntimeError(f"the gateway did not start:\n{gateway.log()}") from error
    return gateway


class Redis:
    """A redis-server of the test's own, to be hung, killed and started again (empty). `options` as in redis.conf."""

    def __init__(self, folder: Path, **options: str) -> None:
        if shutil.which("redis-server") is None:
            raise RuntimeError(
                "redis-server is not installed: `make redis` installs it where it may (Debian: apt install redis-server)"
            )
        self.port = free_ports(1)[0]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "dir": str(folder), **options}
        self.process = self._run()

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Runs it again, without what it knew."""
        self.process = self._run()

    def _run(self) -> subprocess.Popen[bytes]:
        command = ["redis-server", *(word for name, value in self._options.items() for word in (f"--{name}", value))]
        with (self._folder / "redis.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or self._listens(), READY_SECONDS)
            assert process.poll() is None
        except BaseException as error:
            process.kill()
            raise RuntimeError(f"redis-server did not start:\n{(self._folder / 'redis.log').read_text()}") from error
        return process

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def told(self, *words: str) -> str:
        """What redis-cli prints for a command."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def hang(self) -> None:
        """It takes connections and answers nothing, until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again, also what it was asked meanwhile."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone; harmless when it was already."""
        self.process.kill()
        self.process.wait()


def get(address: str, path: str, headers: Mapping[str, str] = {}) -> tuple[int, bytes]:
    """Status and body. Raises OSError where nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(address: str, path: str) -> bool:
    """Whether the path is 200 there."""
    try:
        return 200 == get(address, path)[0]
    except (OSError, http.client.HTTPException):
        return False


def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Looks again and again until the condition holds, and returns how long that took. Raises TimeoutError."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.005)
    return time.monotonic() - start
