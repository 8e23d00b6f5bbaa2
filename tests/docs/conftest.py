"""A gateway as the pages describe it: config/policy.yaml before a real Triton, and a folder in which their commands run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.real_parts import PENSTOCK, GatewayProcess, Triton, start_gateway, until

Run = Callable[[str, str], subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Documented:
    """The gateway, and what a reader's shell knows of it: KEY (tier free), VIP (enterprise) and PID."""

    gateway: GatewayProcess
    variables: Mapping[str, str]


@pytest.fixture(scope="session")
def documented(triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    """With the policy that lies in the repository; only the addresses of Triton are others. Its folder looks like a clone."""
    folder = tmp_path_factory.mktemp("docs")
    text = (ROOT / "config" / "policy.yaml").read_text()
    text = text.replace("127.0.0.1:8000", triton.http).replace("127.0.0.1:8001", triton.grpc)
    running = start_gateway(folder, yaml.safe_load(text))
    running.write_policy(text)  # with its comments, as an author has it before him
    enterprise = ["--subject", "vip", "--tenant", "bigco", "--tier", "enterprise", "--file", str(folder / "api-keys.yaml")]
    vip = subprocess.run([*PENSTOCK, "keys", "new", *enterprise], cwd=ROOT, check=True, capture_output=True, text=True)
    running.process.send_signal(signal.SIGHUP)
    until(lambda: 2 <= running.metric("penstock_policy_reloads_total", result="ok"))  # a changed file is taken by itself, too
    (folder / "config").symlink_to(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "examples").symlink_to(ROOT / "config" / "examples")
    for name in (".cache", "serving-image"):
        (folder / name).symlink_to(ROOT / name)
    variables = {
        "KEY": running.key,
        "VIP": vip.stdout.strip(),
        "PID": str(running.process.pid),
    }
    yield Documented(running, variables)
    assert 0 == running.stop()
    assert "Traceback" not in running.log()


@pytest.fixture
def run(documented: Documented) -> Run:
    """Runs a text by bash or by Python as its reader would, on the ports that this gateway has."""
    gateway = documented.gateway
    addresses = {"127.0.0.1:8080": gateway.http, "127.0.0.1:8081": gateway.grpc, "127.0.0.1:8082": gateway.admin}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **documented.variables, "PATH": path, "GRPC_VERBOSITY": "ERROR"}

    def ask(interpreter: str, text: str) -> subprocess.CompletedProcess[str]:
        for usual, address in addresses.items():
            text = text.replace(usual, address)
        command = ["bash", "-euo", "pipefail", "-c", text] if interpreter == "bash" else [sys.executable, "-c", text]
        return subprocess.run(
            command,
            cwd=gateway.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    return ask
