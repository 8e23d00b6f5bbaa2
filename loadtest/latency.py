"""What a program adds to the latency of the backend behind it, at fixed rates, by the open-loop generator."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from loadtest import traffic
from loadtest.backend import tool
from loadtest.peers import Peer, Started
from loadtest.processes import StartError

RATES = (200, 1000)
PROGRAMS = ("nginx", "penstock")
COLUMNS = {"achieved": "rate", "p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999", "late p99": "late_p99"}


def measure(
    running: Sequence[tuple[Peer, Started]], backend_port: int, core: int, options: argparse.Namespace
) -> tuple[dict[str, object], ...]:
    """Medians over the rounds, programs and rates interleaved; times in µs; `added` is against asking the backend directly."""
    ports: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {"(direct)": (backend_port, ())}
    ports |= {peer.name: (started.port, started.headers) for peer, started in running if peer.name in PROGRAMS}
    taken: dict[tuple[str, int], list[dict[str, float]]] = {(name, rate): [] for rate in RATES for name in ports}
    for turn in range(options.rounds):
        for (name, rate), found in taken.items():
            port, headers = ports[name]
            wanted = ["--rate", str(rate), "--seconds", str(options.seconds), "--seed", str(turn)]
            found.append(_open_loop(port, headers, core, wanted))
    entries: dict[tuple[str, int], dict[str, object]] = {}
    for (name, rate), found in taken.items():
        middle = {column: median(one[field] for one in found) for column, field in COLUMNS.items()}
        direct = entries.get(("(direct)", rate), dict(middle))
        added = {f"added {column}": middle[column] - float(str(direct[column])) for column in ("p50", "p99")}
        errors = sum(one["errors"] for one in found)
        entries[name, rate] = {"program": name, "rate": rate, "errors": errors, **middle, **added}
    return tuple(entries.values())


def _open_loop(port: int, headers: Sequence[tuple[str, str]], core: int, rest: Sequence[str]) -> dict[str, float]:
    question = traffic.question("binary")
    named = [f"--header={name}: {value}" for name, value in (*question.message.headers, *headers)]
    url = f"http://127.0.0.1:{port}{question.path}"
    generator = [sys.executable, "-m", "loadtest.open_loop", "--json", "--url", url, "--body", "/dev/stdin", *named, *rest]
    pinned = [tool("taskset", "util-linux"), "-c", str(core), *generator]
    done = subprocess.run(pinned, capture_output=True, input=question.message.body, cwd=Path(__file__).parent.parent)
    if done.returncode == 2 or not done.stdout:
        raise StartError(f"the open-loop generator failed: {done.stderr.decode(errors='replace').strip()[-600:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result
