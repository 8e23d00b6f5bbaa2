"""What a program adds to the latency of the backend behind it, at fixed rates, by the open-loop generator."""

from __future__ import annotations

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
ROUNDS, SECONDS = 9, 3  # however short the turns for CPU are: a percentile needs requests
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
    running: Sequence[tuple[Peer, Started]], backend_port: int, core: int, notes: list[Note]
) -> tuple[dict[str, object], ...]:
    """Medians over the rounds in µs, programs and rates interleaved. A round in which the generator was late is left out."""
    asked = aims(running, backend_port)
    taken: dict[tuple[str, int], list[Found | None]] = {(aim.program, rate): [] for rate in RATES for aim in asked}
    for turn in range(ROUNDS):
        for rate in RATES:
            for place in range(len(asked)):
                aim = asked[(place + turn) % len(asked)]
                wanted = ["--rate", str(rate), "--seconds", str(SECONDS), "--seed", str(turn)]
                taken[aim.program, rate].append(_open_loop(aim, core, wanted))
    for (name, rate), rounds in taken.items():
        late = sum(found is None for found in rounds)
        if late:
            text = f"{name} at {rate}/s: the generator was late in {late} of {len(rounds)} rounds, which are left out"
            notes.append(Note(text, failure=late == len(rounds)))
    return tuple(entry(taken, name, rate) for name, rate in taken)


def entry(taken: dict[tuple[str, int], list[Found | None]], name: str, rate: int) -> dict[str, object]:
    """One line: medians over the rounds, what they have more than the backend's own, and how many times nginx's they are.

    Not round by round as CPU is: one hiccup in a few hundred requests is a p99 that says nothing of its neighbour's.
    """

    def middle(program: str, field: str) -> float | None:
        values = [found[field] for found in taken.get((program, rate), ()) if found]
        return median(values) if values else None

    errors = sum(found["errors"] for found in taken[name, rate] if found)
    line: dict[str, object] = {"program": name, "rate": rate, "errors": errors, "late p99": middle(name, "late_p99")}
    for column, field in COLUMNS.items():
        mine, direct, nginx = (middle(program, field) for program in (name, DIRECT, "nginx"))
        line[column] = mine
        line[f"added {column}"] = None if mine is None or direct is None else mine - direct
        line[f"{column} × nginx"] = None if mine is None or nginx is None else mine / nginx
    return line


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
