"""Measures what plain proxies and Penstock cost, side by side in one run, in front of the same backend."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest import backend, drivers, latency, processes, results, traffic
from loadtest.drivers import Client, Load, WrongAnswerError
from loadtest.peers import PEERS, Ask, Peer
from loadtest.processes import Cores, MissingToolError, Place, Running, Started, StartError
from loadtest.results import Note, Report, Row, Sample

LATEST = Path(__file__).parent / "results" / "latest.json"
WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A started program under one kind of traffic: how to see that it answers rightly, and how to load it for some seconds."""

    ask: Ask
    running: Running
    check: Callable[[], object]
    drive: Callable[[float], Load]

    @property
    def label(self) -> str:
        """How notes and progress call it."""
        return f"{self.ask.program} {self.ask.traffic}"


def http_subject(ask: Ask, started: Started, client: Client) -> Subject:
    """A program asked over HTTP/1.1 with wrk."""
    question, headers = traffic.question(ask.traffic), started.credentials[ask.credential]
    return Subject(
        ask,
        started.running,
        check=lambda: drivers.check_http(started.port, question, headers),
        drive=lambda seconds: drivers.wrk(client, started.port, question, headers, seconds),
    )


def grpc_subject(ask: Ask, started: Started, client: Client) -> Subject:
    """A program asked over gRPC with h2load."""
    port, frame, headers = started.grpc_port or 0, traffic.grpc_frame(), started.credentials[ask.credential]

    def check() -> int:
        return drivers.check_grpc(port, frame, headers)

    def drive(seconds: float) -> Load:
        return drivers.h2load(client, port, check(), headers, seconds)

    return Subject(ask, started.running, check, drive)


def subjects_of(peer: Peer, started: Started, client: Client) -> list[Subject]:
    """Every row the program gets."""
    return [(grpc_subject if ask.traffic == "grpc" else http_subject)(ask, started, client) for ask in peer.asks]


def start_all(names: Sequence[str], place: Place, stack: ExitStack, notes: list[Note]) -> list[tuple[Peer, Started]]:
    """Start each program; one that cannot be started becomes a note."""
    running: list[tuple[Peer, Started]] = []
    for peer in PEERS:
        if peer.name in names:
            try:
                started = peer.start(place)
            except StartError as reason:
                notes.append(Note(f"{peer.name}: skipped: {reason}", failure=not isinstance(reason, MissingToolError)))
                continue
            stack.callback(started.running.stop)
            running.append((peer, started))
    return running


def side_by_side(subjects: Sequence[Subject]) -> list[Subject]:
    """All of one traffic after each other: a shared machine's mood lasts for seconds, and ratios are taken within a round."""
    traffics = list(dict.fromkeys(subject.ask.traffic for subject in subjects))
    return sorted(subjects, key=lambda subject: traffics.index(subject.ask.traffic))


def warmed(subjects: Sequence[Subject], notes: list[Note]) -> list[Subject]:
    """The subjects that answer rightly, each after a second of load nobody counts; the others become notes."""
    good: list[Subject] = []
    for subject in subjects:
        try:
            subject.check()
            subject.drive(WARM_SECONDS)
        except (WrongAnswerError, StartError) as reason:
            notes.append(Note(f"{subject.label}: skipped: {reason}", failure=not isinstance(reason, MissingToolError)))
        else:
            good.append(subject)
    return good


def measure(subject: Subject, seconds: float) -> Sample:
    """One program for one round. Raises WrongAnswerError when nothing was answered."""
    running = subject.running
    (cpu_before, kernel_before), began = running.spent(), time.monotonic()
    load = subject.drive(seconds)
    (cpu, kernel), took = running.spent(), time.monotonic() - began
    cpu, kernel = cpu - cpu_before, kernel - kernel_before
    if load.requests <= load.errors or cpu <= 0:
        raise WrongAnswerError(f"{load.requests} answers, {load.errors} errors, {cpu:.2f} s of CPU: {running.log_tail(3)}")
    answered = load.requests - load.errors
    return Sample(
        cpu_us=cpu / answered * 1e6,
        per_second=answered / load.seconds,
        busy=cpu / took,
        errors=load.errors,
        rss_mb=running.rss_bytes() / 1e6,
        kernel_us=kernel / answered * 1e6,
    )


def turns(count: int, rounds: int) -> Iterator[tuple[int, int]]:
    """Who runs when: every subject once a round, each round starting one further on, so that nobody always follows the same."""
    for turn in range(rounds):
        for place in range(count):
            yield turn, (place + turn) % count


def run_rounds(subjects: Sequence[Subject], seconds: float, rounds: int, notes: list[Note]) -> tuple[Row, ...]:
    """All rounds of all subjects; a subject that fails is left out with a note."""
    samples: dict[int, list[Sample]] = {index: [] for index in range(len(subjects))}
    for turn, index in turns(len(subjects), rounds):
        if index in samples:
            subject = subjects[index]
            _progress(f"round {turn + 1}/{rounds}: {subject.label}")
            try:
                samples[index].append(measure(subject, seconds))
            except (WrongAnswerError, StartError) as reason:
                notes.append(Note(f"{subject.label}: left out in round {turn + 1}: {reason}", failure=True))
                del samples[index]
    _progress("")
    for index in list(samples):
        try:
            subjects[index].check()
        except WrongAnswerError as reason:
            notes.append(Note(f"{subjects[index].label}: left out: wrong after the last round: {reason}", failure=True))
            del samples[index]
    return tuple(
        Row(ask.program, ask.traffic, ask.does, tuple(taken), ask.beside)
        for ask, taken in ((subjects[index].ask, taken) for index, taken in samples.items())
    )


def compare(options: argparse.Namespace, stack: ExitStack) -> Report:
    """Start everything, measure, and sum up. Raises StartError when there is no backend or no wrk."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
    pinned: Cores = processes.cores()
    notes: list[Note] = []
    if pinned.subject == pinned.load:
        notes.append(Note("only one core, shared by load and program under test: req/s and latency mean little"))
    backend.tool("wrk", "wrk")
    fixed, backend_port = backend.start(folder, {pinned.load})
    stack.callback(fixed.stop)
    client = Client({pinned.load}, options.connections, folder)
    running = start_all(options.only, Place(folder, backend_port, frozenset({pinned.subject})), stack, notes)
    wanted = [subject for peer, started in running for subject in subjects_of(peer, started, client)]
    rows = run_rounds(warmed(side_by_side(wanted), notes), options.seconds, options.rounds, notes)
    latencies = latency.measure(running, backend_port, pinned.load, notes) if options.latency else ()
    settings = {
        "seconds": options.seconds,
        "rounds": options.rounds,
        "connections": options.connections,
        "cores": f"program {pinned.subject}, load and backend {pinned.load}",
        **({"latency": f"{latency.ROUNDS} rounds of {latency.SECONDS} s"} if options.latency else {}),
        "versions": {peer.name: started.version for peer, started in running},
    }
    return Report(settings, tuple(notes), rows, tuple(latencies))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    example = "example: python -m loadtest.compare --seconds 3 --rounds 5"
    parser = argparse.ArgumentParser("loadtest.compare", description=__doc__, epilog=example)
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program has its turn (default 5)")
    parser.add_argument("--connections", type=int, default=8, help="keep-alive connections of the load (default 8)")
    parser.add_argument("--latency", action="store_true", help="also open-loop latency: 9 rounds of 3 s at 200 and 1 000 req/s")
    parser.add_argument("--output", type=Path, default=LATEST, help="JSON file to write (default loadtest/results/latest.json)")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="measure only these")
    options = parser.parse_args(arguments)
    if min(options.seconds, options.rounds, options.connections) < 1:
        parser.error("--seconds, --rounds and --connections are at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured without an error; 1: something answered badly or failed to start; 2: nothing could be measured."""
    options = parse(arguments)
    processes.stop_on_sigterm()
    try:
        with ExitStack() as stack:
            report = compare(options, stack)
    except StartError as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    if report.rows:
        print(results.table(report))
    if report.latencies:
        print(f"\nlatency in µs, open loop\n{results.latency_table(report.latencies)}")
    print("\n" + "\n".join(results.verdicts(report)))
    for note in report.notes:
        print(f"note: {note.text}")
    results.save(report, options.output)
    print(f"every round: {options.output}")
    return 0 if report.clean else 1


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
