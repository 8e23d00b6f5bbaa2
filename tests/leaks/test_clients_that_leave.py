"""Runs the program that looks for what survives its requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 20261121])
def test_nothing_survives_clients_that_leave(seed: int) -> None:
    """200 requests over HTTP and gRPC, half of them cut off at random moments: no request, task, socket or thread is left."""
    program = [sys.executable, "-m", "tests.leaks.clients_that_leave", str(seed)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    # grpc's core may log that the port it was accepting on is gone, which is what a drain does to it.
    assert [] == [line for line in done.stderr.splitlines() if "Closing acceptor" not in line]
    assert 0 == done.returncode, done.stdout
