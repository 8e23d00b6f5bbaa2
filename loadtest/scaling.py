"""Measures what a second worker process brings on this machine, beside one worker in the same run."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from loadtest import backend, drivers, penstock, processes, results, traffic
from loadtest.drivers import Client, WrongAnswerError
from loadtest.penstock import Shape
from loadtest.processes import Place, Running, Started, StartError

CONNECTIONS = 64  # enough that chance gives each worker its part
WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One round with so many workers. `rest_us` is what load and backend took per request, on the same cores."""

    workers: int
    per_second: float
    cpu_us: float
    rest_us: float
    busiest: float
    errors: int


def turn(workers: int, started: Started, fixed: Running, load: drivers.Client, seconds: float) -> Turn:
    """Load it for some seconds. Raises WrongAnswerError when nothing was answered."""
    before, rest = started.running.cpu_by_process(), _rest(fixed)
    done = drivers.wrk(load, started.port, traffic.question("1k"), started.credentials["key"], seconds)
    used = [now - before.get(pid, 0.0) for pid, now in started.running.cpu_by_process().items()]
    answered = done.requests - done.errors
    if not answered or not sum(used):
        raise WrongAnswerError(f"{workers} workers: nothing was answered: {started.running.log_tail(3)}")
    return Turn(
        workers,
        answered / done.seconds,
        sum(used) / answered * 1e6,
        (_rest(fixed) - rest) / answered * 1e6,
        max(used) / sum(used),
        done.errors,
    )


def _rest(fixed: Running) -> float:
    """CPU seconds of the backend and of all load programs that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return fixed.cpu_seconds() + ended.ru_utime + ended.ru_stime


def possible(one: Turn, workers: int, cores: int) -> float:
    """How many times the requests of one worker so many could answer at most, since load and backend need these cores, too."""
    return max(1.0, min(workers, cores * one.cpu_us / (one.cpu_us + one.rest_us)))


COLUMNS = ("workers", "req/s", "min..max", "× one", "possible ×", "CPU µs/req", "rest µs/req", "busiest", "errors")


def lines(turns: Sequence[Turn], cores: int) -> list[tuple[str, ...]]:
    """A line for each number of workers, under COLUMNS; ratios within a round."""
    ones = [each for each in turns if each.workers == 1]
    found: list[tuple[str, ...]] = []
    for workers in sorted({each.workers for each in turns}):
        mine = [each for each in turns if each.workers == workers]
        speeds = [each.per_second for each in mine]
        gain = median(each.per_second / one.per_second for each, one in zip(mine, ones, strict=True))
        found.append(
            (
                str(workers),
                f"{median(speeds):.0f}",
                f"{min(speeds):.0f}..{max(speeds):.0f}",
                f"{gain:.2f}",
                f"{median(possible(one, workers, cores) for one in ones):.2f}",
                f"{median(each.cpu_us for each in mine):.1f}",
                f"{median(each.rest_us for each in mine):.1f}",
                f"{median(each.busiest for each in mine):.0%}",
                str(sum(each.errors for each in mine)),
            )
        )
    return found


def table(turns: Sequence[Turn], cores: int) -> str:
    """As people read it."""
    return results.columns([(workers, "", *rest, "") for workers, *rest in (COLUMNS, *lines(turns, cores))])


def run(counts: Sequence[int], options: argparse.Namespace) -> list[Turn]:
    """Every number of workers in each round, all on all cores. Raises StartError, WrongAnswerError."""
    everywhere = frozenset(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-scaling-")))
        fixed, port = backend.start(folder, everywhere)
        stack.callback(fixed.stop)
        client = Client(everywhere, CONNECTIONS, folder)
        running: dict[int, Started] = {}
        for count in counts:
            running[count] = penstock.start(Place(folder, port, everywhere), Shape(f"workers-{count}", workers=count))
            stack.callback(running[count].running.stop)
            turn(count, running[count], fixed, client, WARM_SECONDS)
        order = [list(running), list(reversed(running))]
        return [
            turn(count, running[count], fixed, client, options.seconds)
            for round_number in range(options.rounds)
            for count in order[round_number % 2]
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured, or skipped with the reason; 1: requests failed; 2: nothing could be measured."""
    parser = argparse.ArgumentParser("loadtest.scaling", description=__doc__, epilog="example: python -m loadtest.scaling")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each has its turn (default 5)")
    parser.add_argument("--output", type=Path, help="JSON file to keep it in")
    options = parser.parse_args(arguments)
    if min(options.seconds, options.rounds) < 1:
        parser.error("--seconds and --rounds are at least 1")
    processes.stop_on_sigterm()
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        print("scaling: skipped: a second worker needs a second core")
        return 0
    try:
        turns = run((1, 2), options)
    except (StartError, WrongAnswerError) as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    print(table(turns, cores))
    if options.output:
        results.keep({"cores": cores, "turns": [asdict(each) for each in turns]}, options.output)
    return 1 if any(each.errors for each in turns) else 0


if __name__ == "__main__":
    sys.exit(main())
