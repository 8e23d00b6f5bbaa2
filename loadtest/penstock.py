"""Penstock as it stands in the comparison: its configurations, the credentials for it, and its start."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest import credentials, processes, traffic
from loadtest.backend import write_configuration
from loadtest.processes import MissingToolError, Place, Running, Started, StartError

COMMAND = Path(sys.prefix) / "bin" / "penstock"


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to configure it. `bare`: anonymous, one route a model, and nothing else that can be left out.

    `tokens`: an issuer of tokens is trusted beside the API keys, which takes the memory of a cryptographic library.
    `share`: of the requests that went well, those in the access log. `policy`: the template of its policy, with what it fills in;
    `store` and `memory` are where its answers are kept.
    """

    name: str
    bare: bool = False
    access_log: str = "off"
    share: str = "100%"
    workers: int = 1
    tokens: bool = True
    policy: tuple[str, Mapping[str, object]] = ("policy.yaml", {})
    store: str = "memory"
    memory: str = "64MiB"


FULL = Shape("full", access_log="json", share="1%")
LOGGED = Shape("logged", access_log="json")
BARE = Shape("bare", bare=True)
KEYS = Shape("keys", tokens=False)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything `penstock serve` needs, written down and ready to be started (as often as one likes)."""

    command: tuple[str, ...]
    place: Place
    port: int
    grpc_port: int
    admin_port: int
    credentials: dict[str, credentials.Headers]

    def launch(self) -> Running:
        """Start the process without waiting for anything."""
        return processes.start("penstock", self.command, self.place.cores, self.place.folder / "penstock.log")

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


def prepare(place: Place, shape: Shape = FULL) -> Setup:
    """Write both documents and make the credentials, in a folder of their own. Raises StartError if a command refuses."""
    if not COMMAND.exists():
        raise MissingToolError("no penstock command beside this Python: use the .venv/bin/python that `make` builds")
    place = replace(place, folder=place.folder / f"penstock-{shape.name}")
    place.folder.mkdir(exist_ok=True)
    port, grpc_port, admin_port = (processes.free_port() for _ in range(3))
    values: dict[str, object] = {"port": port, "grpc_port": grpc_port, "admin_port": admin_port}
    values |= {"access_log": shape.access_log, "share": shape.share, "workers": shape.workers, "issuers": ""}
    values |= {"store": shape.store, "memory": shape.memory}
    shown: dict[str, credentials.Headers] = {"": ()}
    if not shape.bare:
        shown["key"] = credentials.api_key(COMMAND, place.folder / "api-keys.yaml")
    if not shape.bare and shape.tokens:
        (shown["jwt"],) = credentials.bearers(jwks := place.folder / "jwks.json")
        values["issuers"] = f"jwt: {json.dumps([credentials.issuer(jwks)])}"
    kind = "-bare" if shape.bare else ""
    gateway = write_configuration(f"gateway{kind}.yaml", place.folder, values)
    template, more = ("policy-bare.yaml", {}) if shape.bare else shape.policy
    policy = write_configuration(template, place.folder, {"backend_port": place.backend_port, "accept": traffic.ACCEPT, **more})
    command = (str(COMMAND), "serve", "--config", str(gateway), "--policy", str(policy))
    return Setup(command, place, port, grpc_port, admin_port, shown)


def start(place: Place, shape: Shape = FULL) -> Started:
    """Start it so and wait until it is ready; an access log, if there is one, goes to a file. Raises StartError."""
    setup = prepare(place, shape)
    running = setup.launch()
    try:
        running.wait_ready(setup.ready)
    except StartError:
        running.stop()
        raise
    said = subprocess.run([str(COMMAND), "--version"], capture_output=True, text=True)
    return Started(running, said.stdout.strip(), setup.port, setup.grpc_port, setup.credentials)
