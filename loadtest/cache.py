"""Measures what the cache costs and saves: CPU per request of hits, misses and unique questions, and of the gate alone."""

from __future__ import annotations

import argparse
import http.client
import re
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median

import msgspec

from loadtest import backend, compare, drivers, penstock, processes, results, traffic
from loadtest.compare import Subject
from loadtest.drivers import Client, WrongAnswerError
from loadtest.gate import Given
from loadtest.peers import Ask
from loadtest.penstock import Setup, Shape
from loadtest.processes import MissingToolError, Place, Running, Started, StartError
from loadtest.results import Note, Row
from routing.cache import worth

KEPT = {"cache": "cache: {ttl: 1h}", "rows": "cache: {ttl: 1h, rows: true}"}
# A cache that gains nothing turns itself off: one that never does, and one that soon does for good.
PROGRAM = "import sys; from routing.cache import worth; {}; from gateway.cli import main; sys.exit(main())"
NEVER, SOON = "worth.WINDOW = 1 << 62", "worth.WINDOW, worth.FIRST, worth.LONGEST = 64, 1e9, 1e9"
HOUR, RATE = 3600.0, 1000.0  # seconds of traffic without a question asked twice, and how many there are a second
_FRAMING = frozenset({"date", "content-length", "connection"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One way a gateway's cache is set: `fills` the policy; `turns` how it turns itself off, if not as usual; `far`: all is in
    Redis, and memory too small for a single answer."""

    name: str
    fills: Mapping[str, object] = field(hash=False)
    turns: str = ""
    far: bool = False


OFF = Kind("off", {"cache": "", "rows": ""})
ON = Kind("on", KEPT)
ALWAYS = Kind("always", KEPT, NEVER)
SPENT = Kind("spent", KEPT, SOON)
FAR = Kind("redis", KEPT, NEVER, far=True)  # a trip to it takes longer than this backend, and would soon be saved


@dataclass(frozen=True, slots=True)
class Line:
    """One row: the traffic a gateway gets, and what the row is."""

    name: str
    kind: Kind
    traffic: str
    does: str
    traced: bool = False  # each request says whose it is, and so is none that came before to the byte

    @property
    def ask(self) -> Ask:
        """As the comparison has it."""
        return Ask(self.name, self.traffic, self.does, "key")


HIT = "hit"
TRACE = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
LINES = (
    *(Line(HIT, ON, asked, "kept") for asked in ("1k", "json", "grpc", "rows")),
    Line("hit, read", ON, "1k", "kept; it has a header that no two requests have in common", traced=True),
    Line("miss", ALWAYS, "unique", "looked up, asked, kept, each time; the cache may not turn itself off"),
    Line("turned off", SPENT, "unique", "the same, once the cache has turned itself off"),
    Line("redis hit", FAR, "1k", "kept in Redis, and not in memory; asked whether it still is"),
    Line("redis hit, read", FAR, "1k", "kept there; it has such a header, and the answer is fetched", traced=True),
    *(Line("no cache", OFF, asked, "asked") for asked in ("1k", "unique", "json", "grpc", "rows")),
)
GATE = Ask("gate", "1k", "the gate alone: reads the question, answers a constant")


@dataclass(frozen=True, slots=True)
class Goal:
    """The CPU of one row (name and traffic) over that of another: at most so much, or (None) only told."""

    row: tuple[str, str]
    beside: tuple[str, str]
    most: float | None = None


GOALS = (  # issue 6
    Goal(("hit", "1k"), ("gate", "1k"), 1.3),
    Goal(("hit", "1k"), ("miss", "unique"), 1 / 5),
    Goal(("redis hit", "1k"), ("hit", "1k"), 3.0),
    Goal(("redis hit, read", "1k"), ("hit, read", "1k")),
    Goal(("hit, read", "1k"), ("gate", "1k")),
    Goal(("turned off", "unique"), ("no cache", "unique"), 1.05),
    Goal(("miss", "unique"), ("no cache", "unique")),
    *(Goal(("hit", asked), ("no cache", asked)) for asked in ("1k", "json", "grpc", "rows")),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a goal: the median of the ratios within the rounds."""

    goal: Goal
    ratio: float

    def __str__(self) -> str:
        bar = ""
        if self.goal.most is not None:
            bar = f" (at most {self.goal.most:.3g}: {'reached' if self.ratio <= self.goal.most else 'missed'})"
        return f"{' '.join(self.goal.row).strip()} / {' '.join(self.goal.beside)}: {self.ratio:.2f}{bar}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A started gateway and how its operators reach it."""

    setup: Setup
    running: Running

    @property
    def credential(self) -> drivers.Headers:
        """What lets a client in."""
        return self.setup.credentials["key"]

    def counted(self) -> dict[str, int]:
        """How questions to models with a cache went so far, all models together."""
        connection = http.client.HTTPConnection("127.0.0.1", self.setup.admin_port, timeout=5.0)
        try:
            connection.request("GET", "/metrics")
            return counts(connection.getresponse().read().decode())
        finally:
            connection.close()


def counts(exposition: str) -> dict[str, int]:
    """Of `penstock_cache_requests_total`, by result."""
    found: dict[str, int] = {}
    for result, value in re.findall(r'^penstock_cache_requests_total\{.*result="(\w+)"\} (\S+)$', exposition, re.MULTILINE):
        found[result] = found.get(result, 0) + int(float(value))
    return found


def start_gateway(place: Place, kind: Kind, redis: str) -> Gateway:
    """Raises StartError."""
    shape = Shape(f"cache-{kind.name}", tokens=False, policy=("policy-cache.yaml", kind.fills))
    if kind.far:
        shape = replace(shape, store=redis, memory="1KiB")
    setup = penstock.prepare(place, shape)
    if kind.turns:
        setup = replace(setup, command=(sys.executable, "-c", PROGRAM.format(kind.turns), *setup.command[1:]))
    running = setup.launch()
    try:
        running.wait_ready(setup.ready)
    except StartError:
        running.stop()
        raise
    return Gateway(setup, running)


def start_redis(folder: Path, cores: Collection[int]) -> tuple[Running, str]:
    """Which keeps nothing on disk; returns its address, too. Raises StartError."""
    port = processes.free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    running = processes.start("redis", [backend.tool("redis-server", "redis-server"), *options], cores, folder / "redis.log")
    running.wait_ready(lambda: processes.listens(port))
    return running, f"redis://127.0.0.1:{port}/0"


def start_gate(place: Place, like: Gateway) -> tuple[Running, int]:
    """Raises StartError."""
    question, port = traffic.question("1k"), processes.free_port()
    _asked(like.setup.port, question, like.credential)
    given = place.folder / "gate.json"
    given.write_bytes(msgspec.json.encode(_asked(like.setup.port, question, like.credential)))
    command = (sys.executable, "-m", "loadtest.gate", str(port), str(given))
    running = processes.start("gate", command, place.cores, place.folder / "gate.log")
    try:
        running.wait_ready(lambda: processes.listens(port))
    except StartError:
        running.stop()
        raise
    return running, port


def _asked(port: int, question: traffic.Question, headers: drivers.Headers) -> Given:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", question.path, question.message.body, dict((*question.message.headers, *headers)))
        response = connection.getresponse()
        body = response.read()
        return Given(tuple((name, value) for name, value in response.getheaders() if name.lower() not in _FRAMING), body)
    except (OSError, http.client.HTTPException) as error:
        raise StartError(f"the gateway did not answer: {error}") from error
    finally:
        connection.close()


def start_gateways(place: Place, lines: Sequence[Line], stack: ExitStack) -> dict[str, Gateway]:
    """Every gateway that these rows need, by the names of their kinds. Raises StartError."""
    found: dict[str, Gateway] = {}
    kinds, address = dict.fromkeys(line.kind for line in lines), ""
    if FAR in kinds:
        redis, address = start_redis(place.folder, {processes.cores().load})
        stack.callback(redis.stop)
    for kind in kinds:
        found[kind.name] = start_gateway(place, kind, address)
        stack.callback(found[kind.name].running.stop)
    return found


def subject(line: Line, gateway: Gateway, client: Client) -> Subject:
    """The row's gateway under the row's traffic."""
    of = compare.grpc_subject if line.traffic == "grpc" else compare.http_subject
    setup = gateway.setup
    sent = {name: (*headers, TRACE) if line.traced else headers for name, headers in setup.credentials.items()}
    return of(line.ask, Started(gateway.running, "", setup.port, setup.grpc_port, sent), client)


def gate_subject(place: Place, like: Gateway, client: Client) -> Subject:
    """The gate alone, which answers what the gateway says to the second of two equal questions. Raises StartError."""
    running, port = start_gate(place, like)
    question, sent = traffic.question("1k"), like.credential
    return Subject(
        GATE,
        running,
        check=lambda: drivers.check_http(port, question, sent),
        drive=lambda seconds: drivers.wrk(client, port, question, sent, seconds),
    )


def measure(options: argparse.Namespace, stack: ExitStack) -> tuple[list[Row], list[Note], dict[str, dict[str, int]]]:
    """The rows, what went wrong, and what each gateway counted. Raises StartError."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-cache-")))
    pinned, notes = processes.cores(), list[Note]()
    fixed, port = backend.start(folder, {pinned.load})
    stack.callback(fixed.stop)
    place = Place(folder, port, frozenset({pinned.subject}))
    lines = [line for line in LINES if line.name in options.only]
    try:
        backend.tool("redis-server", "redis-server")
    except MissingToolError as reason:
        notes.append(Note(f"hits from Redis: skipped: {reason}"))
        lines = [line for line in lines if line.kind is not FAR]
    gateways, client = start_gateways(place, lines, stack), Client({pinned.load}, options.connections, folder)
    wanted = [subject(line, gateways[line.kind.name], client) for line in lines]
    if GATE.program in options.only:
        wanted.insert(0, gate_subject(place, gateways[ON.name], client))
        stack.callback(wanted[0].running.stop)
    rows = compare.run_rounds(compare.warmed(wanted, notes), options.seconds, options.rounds, notes)
    return list(rows), notes, {name: gateway.counted() for name, gateway in gateways.items() if name != OFF.name}


def judged(rows: Sequence[Row]) -> list[Verdict]:
    """Each goal of which both rows were measured, and what unique traffic costs in its first hour."""
    named = {(row.name, row.traffic): row for row in rows}
    there = [goal for goal in GOALS if goal.row in named and goal.beside in named]
    ratios = [results.ratio(named[goal.row], named[goal.beside]) for goal in there]
    found = [Verdict(goal, ratio) for goal, ratio in zip(there, ratios, strict=True) if ratio is not None]
    of = {verdict.goal.row: verdict.ratio for verdict in found if verdict.goal.beside == ("no cache", "unique")}
    if len(of) == 2:
        share, off = looked_up(HOUR, RATE), of["turned off", "unique"]
        ratio = off + share * (of["miss", "unique"] - off)
        name = f"an hour of unique questions, {RATE:.0f} a second, of which {share:.1%} are looked up"
        found.append(Verdict(Goal((name, ""), ("no cache", "unique"), 1.05), ratio))
    return found


def looked_up(seconds: float, per_second: float) -> float:
    """The share of unique questions that are looked up in so long a time: all of a window, then none for a while, and so on."""
    asked, now, pause, questions = 0.0, 0.0, worth.FIRST, worth.WINDOW
    while now < seconds:
        window = min(questions / per_second, seconds - now)
        asked += window * per_second
        now += window + pause
        pause, questions = min(worth.LONGEST, 2 * pause), worth.AGAIN
    return asked / (seconds * per_second)


def table(rows: Sequence[Row]) -> str:
    """As people read it."""
    head = ("row", "traffic", "CPU µs/req", "min..max", "req/s", "busy", "errors", "what")
    return results.columns([head, *(_line(row) for row in rows)])


def _line(row: Row) -> tuple[str, ...]:
    costs = [sample.cpu_us for sample in row.samples]
    speed, busy = median(sample.per_second for sample in row.samples), median(sample.busy for sample in row.samples)
    spread = f"{min(costs):.1f}..{max(costs):.1f}"
    return (row.name, row.traffic, f"{row.cpu_us:.1f}", spread, f"{speed:.0f}", f"{busy:.0%}", str(row.errors), row.does)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    example = "example: python -m loadtest.cache --seconds 2 --rounds 5 --output /tmp/cache.json"
    parser = argparse.ArgumentParser("loadtest.cache", description=__doc__, epilog=example)
    parser.add_argument("--seconds", type=int, default=2, help="length of one measurement (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each row has its turn (default 5)")
    parser.add_argument("--connections", type=int, default=8, help="keep-alive connections of the load (default 8)")
    parser.add_argument("--output", type=Path, help="JSON file to keep it in")
    names = list(dict.fromkeys([GATE.program, *(line.name for line in LINES)]))
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="measure only these rows")
    options = parser.parse_args(arguments)
    if min(options.seconds, options.rounds, options.connections) < 1:
        parser.error("--seconds, --rounds and --connections are at least 1")
    if GATE.program in options.only and HIT not in options.only:
        parser.error("the gate answers what a hit does: measure hits, too")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured, goals reached or not; 1: requests failed; 2: nothing could be measured."""
    options = parse(arguments)
    processes.stop_on_sigterm()
    try:
        with ExitStack() as stack:
            rows, notes, counted = measure(options, stack)
    except (StartError, WrongAnswerError) as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    found = judged(rows)
    print("\n".join([table(rows), "", *map(str, found), *(f"{name}: {how}" for name, how in counted.items())]))
    for note in notes:
        print(f"note: {note.text}")
    if options.output:
        kept = {
            "ratios": [asdict(each) for each in found],
            "counted": counted,
            "rows": [{"cpu_us": row.cpu_us, **asdict(row)} for row in rows],
        }
        results.keep(kept, options.output)
    return 1 if any(note.failure for note in notes) or any(row.errors for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
