"""What becomes of a backend of fixed capacity when five and ten times as much is asked: behind Penstock, HAProxy and nothing."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from loadtest import penstock, processes, results, traffic
from loadtest.backend import tool, write_configuration
from loadtest.capacity import FORMS, Form
from loadtest.crowd import Crowd, Told, arrivals
from loadtest.pacing import NANOSECONDS
from loadtest.processes import Place, StartError

PATIENCE = 0.5  # seconds: an answer that comes later is worth nothing
KINDS = ("smooth", "bursty", "even")
WINDOW = 0.25  # seconds, of which all but a twentieth must be well for things to be normal again
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Phase:
    """So many times the capacity is asked for so many seconds."""

    name: str
    load: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One phase. Answers in time and refusals a second; milliseconds at p99 of both; questions that were told nothing in time."""

    name: str
    offered: float
    goodput: float
    p99: float
    refused: float
    refusal_p99: float
    silent: int


@dataclass(frozen=True, slots=True)
class Course:
    """One program through all phases. `normal`: seconds after the last burst until nearly all is answered in time again."""

    program: str
    form: str
    arrivals: str
    phases: tuple[Seen, ...]
    normal: float
    late_p99: float  # milliseconds that the clients themselves were late

    def phase(self, name: str) -> Seen:
        """The one of that name."""
        return next(each for each in self.phases if each.name == name)

    @property
    def peak(self) -> float:
        """The most answers in time that any phase had."""
        return max(each.goodput for each in self.phases)


def phases(seconds: float, after: float = 3.0) -> tuple[Phase, ...]:
    """The usual course: 80 %, half as much again as there is, five times, ten times, and 80 % again."""
    return (
        Phase("80 %", 0.8, seconds),
        Phase("1.5 ×", 1.5, seconds / 3),
        Phase("5 ×", 5.0, seconds),
        Phase("10 ×", 10.0, seconds / 2),
        Phase("after", 0.8, after),
    )


def naive(seconds: float) -> tuple[Phase, ...]:
    """For one that takes in everything: long afterwards nothing is answered in time."""
    return (Phase("80 %", 0.8, seconds / 2), Phase("5 ×", 5.0, seconds / 2), Phase("after", 0.8, 2.5 * seconds))


def request(port: int) -> bytes:
    """The question of 1 KB; Penstock is told how long its answer is waited for, as other proxies are by their configuration."""
    asked = traffic.question("1k")
    told = (*asked.message.headers, ("X-Request-Timeout-Ms", str(round(PATIENCE * 1000))))
    lines = [f"POST {asked.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {value}" for name, value in told)]
    return "\r\n".join([*lines, f"Content-Length: {len(asked.message.body)}", "", ""]).encode() + asked.message.body


async def asked(port: int, form: Form, course: Sequence[Phase], kind: str, seed: int) -> tuple[list[Told], float]:
    """All that the crowd was told through the phases, and how late it was at p99."""
    moments: list[int] = []
    begin = 0.0
    for number, phase in enumerate(course):
        found = arrivals(kind, phase.load * form.capacity, phase.seconds, seed + number)
        moments += [moment + round(begin * NANOSECONDS) for moment in found]
        begin += phase.seconds
    crowd = Crowd(port, request(port), PATIENCE)
    told = await crowd.run(moments)
    return sorted(told), percentile(crowd.late, 0.99)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all lie at or below; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def seen(phase: Phase, told: Sequence[Told], came: int) -> Seen:
    """The figures of a phase in which these were due, and so many answers came in time."""
    good = [each.seconds for each in told if in_time(each)]
    refused = [each.seconds for each in told if each.status >= 400]
    return Seen(
        phase.name,
        len(told) / phase.seconds,
        came / phase.seconds,
        percentile(good, 0.99) * 1000,
        len(refused) / phase.seconds,
        percentile(refused, 0.99) * 1000,
        len(told) - len(good) - len(refused),
    )


def in_time(told: Told) -> bool:
    """Whether it was an answer, and somebody still waited for it."""
    return told.status == 200 and told.seconds <= PATIENCE


def normal_after(told: Sequence[Told], begin: int, seconds: float) -> float:
    """Seconds from `begin` (nanoseconds) to the end of the first window in which nearly all were answered in time."""
    count = int(seconds / WINDOW)
    for window in range(count):
        low = begin + round(window * WINDOW * NANOSECONDS)
        due = [each for each in told if low <= each.due < low + WINDOW * NANOSECONDS]
        good = sum(in_time(each) for each in due)
        if due and good >= 0.95 * len(due):
            return window * WINDOW
    return seconds


def course(program: str, form: str, kind: str, run: tuple[Sequence[Phase], list[Told], float]) -> Course:
    """What was seen, phase by phase."""
    planned, told, late = run
    found, begin = [], 0.0
    for phase in planned:
        low, begin = round(begin * NANOSECONDS), begin + phase.seconds
        high = round(begin * NANOSECONDS)
        came = sum(in_time(each) and low <= each.due + each.seconds * NANOSECONDS < high for each in told)
        found.append(seen(phase, [each for each in told if low <= each.due < high], came))
    normal = normal_after(told, round((begin - planned[-1].seconds) * NANOSECONDS), planned[-1].seconds)
    return Course(program, form, kind, tuple(found), normal, late * 1000)


def start_backend(stack: ExitStack, form: str, folder: Path) -> int:
    """Starts one for this run; its port."""
    port = processes.free_port()
    command = [sys.executable, "-m", "loadtest.capacity", form, str(port)]
    running = processes.start("capacity", command, {processes.cores().load}, folder / "capacity.log")
    stack.callback(running.stop, 1.0)
    running.wait_ready(lambda: processes.listens(port))
    return port


def start_penstock(stack: ExitStack, place: Place, form: Form) -> int:
    """As it comes: nothing is set for overload."""
    started = penstock.start(place, penstock.BARE)
    stack.callback(started.running.stop)
    return started.port


def start_haproxy(stack: ExitStack, place: Place, form: Form, limited: bool = True) -> int:
    """`maxconn` chosen for this backend: all servers busy, and as much again as they take at once ready behind, at most four."""
    port = processes.free_port()
    together = form.servers * form.batch
    limit = f"maxconn {together + min(together, max(1, form.batch))}" if limited else ""
    values = {"port": port, "backend_port": place.backend_port, "limit": limit}
    configuration = write_configuration("haproxy-queue.cfg", place.folder, values)
    command = [tool("haproxy", "haproxy"), "-db", "-f", str(configuration)]
    running = processes.start("haproxy", command, place.cores, place.folder / "haproxy.log")
    stack.callback(running.stop)
    running.wait_ready(lambda: processes.listens(port))
    return port


PROGRAMS: Mapping[str, Callable[[ExitStack, Place, Form], int]] = {
    "penstock": start_penstock,
    "haproxy": start_haproxy,
    "naive": partial(start_haproxy, limited=False),
}


def alone(stack: ExitStack) -> None:
    """Lets this process, and what it starts, go before everything else on the machine where that is allowed.

    A backend that is kept from working has no fixed capacity, and clients that are late are no open loop.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    except PermissionError:
        return
    stack.callback(os.sched_setscheduler, 0, os.SCHED_OTHER, os.sched_param(0))


def measure(program: str, form: str, kind: str, planned: Sequence[Phase], seed: int) -> Course:
    """One program before a fresh backend, through the phases. Raises StartError."""
    pinned, everywhere = processes.cores(), os.sched_getaffinity(0)
    with ExitStack() as stack:
        alone(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-overload-")))
        place = Place(folder, start_backend(stack, form, folder), frozenset({pinned.subject}))
        port = PROGRAMS[program](stack, place, FORMS[form])
        os.sched_setaffinity(0, {pinned.load})  # with the backend, away from the program that is measured
        stack.callback(os.sched_setaffinity, 0, everywhere)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told, late = runner.run(asked(port, FORMS[form], planned, kind, seed))
    return course(program, form, kind, (planned, told, late))


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure next to what it must keep: at least or at most so much."""

    what: str
    seen: float
    bar: float
    least: bool
    unit: str = ""

    @property
    def kept(self) -> bool:
        """Whether it does."""
        return self.seen >= self.bar if self.least else self.seen <= self.bar


def bars(mine: Course, other: Course | None) -> list[Bar]:
    """What the issue asks of one course, beside HAProxy's where there is one."""
    usual, five, ten = mine.phase("80 %"), mine.phase("5 ×"), mine.phase("10 ×")
    found = [
        Bar("answers in time at 5 ×, of its own peak", 100 * five.goodput / mine.peak, 90.0, True, " %"),
        Bar("p99 of the answers at 5 ×, times that at 80 %", five.p99 / usual.p99, 2.0, False, " ×"),
        Bar("p99 of the refusals at 5 ×", five.refusal_p99, 20.0, False, " ms"),
        Bar("answers in time at 10 ×, of its own peak", 100 * ten.goodput / mine.peak, 80.0, True, " %"),
        Bar("normal after the burst", mine.normal, 1.0, False, " s"),
    ]
    if other is not None:
        share = 100 * five.goodput / other.phase("5 ×").goodput
        found.insert(1, Bar("answers in time at 5 ×, of HAProxy's", share, 95.0, True, " %"))
    return found


COLUMNS = ("backend, arrivals", "program", "80 %", "p99 ms", "5 ×", "p99 ms", "refusal p99", "10 ×", "normal after s", "silent")


def again(kept: Mapping[str, Any]) -> Course:
    """A course as it was kept."""
    fields = {name: value for name, value in kept.items() if name not in ("peak", "phases")}
    return Course(phases=tuple(Seen(**each) for each in kept["phases"]), **fields)


def line(found: Course) -> tuple[str, ...]:
    """One row of the table."""
    usual, five = found.phase("80 %"), found.phase("5 ×")
    ten = next((f"{each.goodput:.0f}" for each in found.phases if each.name == "10 ×"), "–")
    return (
        f"{found.form}, {found.arrivals}",
        found.program,
        f"{usual.goodput:.0f}",
        f"{usual.p99:.0f}",
        f"{five.goodput:.0f}",
        f"{five.p99:.0f}",
        f"{five.refusal_p99:.1f}" if five.refused else "–",
        ten,
        f"{found.normal:.2f}",
        str(sum(each.silent for each in found.phases)),
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("loadtest.overload", description=__doc__, epilog="example: python -m loadtest.overload")
    parser.add_argument("--seconds", type=float, default=8.0, help="of the longest phases (default 8)")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="backends (default all)")
    parser.add_argument("--arrivals", nargs="+", choices=KINDS, default=["smooth", "bursty"], help="default smooth and bursty")
    parser.add_argument("--output", type=Path, help="JSON file to keep it in")
    options = parser.parse_args(arguments)
    if options.seconds <= 0:
        parser.error("--seconds is above 0")
    return options


def run(options: argparse.Namespace) -> list[Course]:
    """Every program before every backend, one after the other. Raises StartError."""
    found = []
    for form in options.forms:
        for seed, kind in enumerate(options.arrivals):
            for program in PROGRAMS:
                planned = naive(options.seconds) if program == "naive" else phases(options.seconds)
                found.append(measure(program, form, kind, planned, seed))
                print(*line(found[-1]), sep=" · ", file=sys.stderr)
    return found


def verdicts(found: Sequence[Course]) -> list[str]:
    """Each bar of Penstock's courses, and whether it was kept."""
    lines = []
    for mine in (each for each in found if each.program == "penstock"):
        beside = [each for each in found if (each.form, each.arrivals, each.program) == (mine.form, mine.arrivals, "haproxy")]
        for bar in bars(mine, beside[0] if beside else None):
            sign = "≥" if bar.least else "≤"
            end = "" if bar.kept else "   MISSED"
            lines.append(f"{mine.form}, {mine.arrivals}: {bar.what}: {bar.seen:.2f}{bar.unit} {sign} {bar.bar:g}{bar.unit}{end}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 2: nothing could be. A bar that is missed is said, and is no failure."""
    options = parse(arguments)
    processes.stop_on_sigterm()
    processes.many_files()
    try:
        found = run(options)
    except StartError as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    print(results.columns([COLUMNS, *map(line, found)]), *verdicts(found), sep="\n")
    if options.output:
        results.keep({"courses": [{**asdict(each), "peak": each.peak} for each in found]}, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
