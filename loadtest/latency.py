"""What a program adds to the latency of the backend behind it, at fixed rates, by the open-loop generator."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from loadtest import traffic
from loadtest.backend import tool
from loadtest.open_loop import LATE_EXIT
from loadtest.peers import Peer
from loadtest.processes import Started, StartError
from loadtest.results import Note

RATES = (200, 1000)
DIRECT = "(direct)"
COLUMNS = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999"}
Found = dict[str, float]


@dataclass(frozen=True, slots=True)
class Aim:
    """Whom to ask, and with which credential."""

    program: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()


def aims(running: Sequence[tuple[Peer, Started]], backend_port: int) -> list[Aim]:
    """The backend itself, then every row of 1 KB traffic."""
    asked = [(ask, started) for peer, started in running for ask in peer.asks if ask.traffic == "1k"]
    return [
        Aim(DIRECT, backend_port),
        *(Aim(ask.program, started.port, started.credentials[ask.credential]) for ask, started in asked),
    ]


def measure(
    running: Sequence[tuple[Peer, Started]], backend_port: int, core: int, options: argparse.Namespace, notes: list[Note]
) -> tuple[dict[str, object], ...]:
    """Medians over the rounds in µs, programs and rates interleaved. A round in which the generator was late is left out."""
    asked = aims(running, backend_port)
    taken: dict[tuple[str, int], list[Found | None]] = {(aim.program, rate): [] for rate in RATES for aim in asked}
    for turn in range(options.rounds):
        for rate in RATES:
            for place in range(len(asked)):
                aim = asked[(place + turn) % len(asked)]
                wanted = ["--rate", str(rate), "--seconds", str(options.seconds), "--seed", str(turn)]
                taken[aim.program, rate].append(_open_loop(aim, core, wanted))
    for (name, rate), rounds in taken.items():
        late = sum(found is None for found in rounds)
        if late:
            text = f"{name} at {rate}/s: the generator was late in {late} of {len(rounds)} rounds, which are left out"
            notes.append(Note(text, failure=late == len(rounds)))
    return tuple(_entry(taken, name, rate) for name, rate in taken)


def _entry(taken: dict[tuple[str, int], list[Found | None]], name: str, rate: int) -> dict[str, object]:
    """One line: medians, what is added to asking the backend itself, and ratios, each within its round."""
    rounds = taken[name, rate]
    entry: dict[str, object] = {"program": name, "rate": rate, "errors": sum(found["errors"] for found in rounds if found)}
    entry["late p99"] = _median([found["late_p99"] for found in rounds if found])
    for column, field in COLUMNS.items():
        entry[column] = _median([found[field] for found in rounds if found])
    direct, nginx = taken[DIRECT, rate], taken.get(("nginx", rate), [None] * len(rounds))
    for column in ("p50", "p99"):
        added = [mine[column] - its[column] for mine, its in zip(rounds, direct, strict=True) if mine and its]
        ratios = [mine[column] / its[column] for mine, its in zip(rounds, nginx, strict=True) if mine and its]
        entry |= {f"added {column}": _median(added), f"{column} × nginx": _median(ratios)}
    return entry


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _open_loop(aim: Aim, core: int, rest: Sequence[str]) -> Found | None:
    question = traffic.question("1k")
    named = [f"--header={name}: {value}" for name, value in (*question.message.headers, *aim.headers)]
    url = f"http://127.0.0.1:{aim.port}{question.path}"
    generator = [sys.executable, "-m", "loadtest.open_loop", "--json", "--url", url, "--body", "/dev/stdin", *named, *rest]
    pinned = [tool("taskset", "util-linux"), "-c", str(core), *generator]
    done = subprocess.run(pinned, capture_output=True, input=question.message.body, cwd=Path(__file__).parent.parent)
    if done.returncode == LATE_EXIT:
        return None
    if done.returncode == 2 or not done.stdout:
        raise StartError(f"the open-loop generator failed: {done.stderr.decode(errors='replace').strip()[-600:]}")
    result: Found = json.loads(done.stdout)
    return result
