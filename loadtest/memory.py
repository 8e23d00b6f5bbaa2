"""Measures the memory programs hold for thousands of idle connections and for clients that hardly read their large answers."""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest import backend, buffers, processes, results, traffic
from loadtest.drivers import Headers, WrongAnswerError, check_http
from loadtest.peers import PEERS, Peer
from loadtest.processes import Place, StartError

SLOW_GOAL_MB = 64.0
SPARE_FILES = 200  # of the client itself; a program needs two a connection, one to each side
TIMEOUT = 20.0
IDLE, SLOW, SLOW_SMALL = KINDS = ("idle", "slow readers", "slow readers, 64 KiB")
SIP, SIP_EVERY = 4096, 0.25  # what a slow reader takes, and how often: 16 KiB/s, too little to be done and too much to be cut off


@dataclass(frozen=True, slots=True)
class Held:
    """One program under one kind of client: resident MB (10^6) before them and with them (for slow readers: at most).

    `kernel_mb` is what the machine's TCP sockets hold besides, which no program's RSS shows.
    """

    program: str
    clients: str
    count: int
    before_mb: float
    with_mb: float
    kernel_mb: float
    cut: int = 0  # clients that were cut off, which Penstock does to bound what waits (docs/limits.md, `unsent`)

    @property
    def more_mb(self) -> float:
        """What the clients cost all together."""
        return self.with_mb - self.before_mb


def written(question: traffic.Question, headers: Headers) -> bytes:
    """The question as it goes over the wire."""
    named = (*question.message.headers, *headers, ("Content-Length", str(len(question.message.body))))
    lines = [f"POST {question.path} HTTP/1.1", "Host: bench", *(f"{name}: {value}" for name, value in named), "", ""]
    return "\r\n".join(lines).encode() + question.message.body


def dial(port: int, receive_bytes: int = 0) -> socket.socket:
    """A connection, if wanted with a small receive buffer, so that what is not read stays with the sender."""
    client = socket.socket()
    client.settimeout(TIMEOUT)
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(("127.0.0.1", port))
    return client


class CutError(WrongAnswerError):
    """The connection was ended before the answer was whole."""


class Answer:
    """An answer as it comes in: when it is whole, and that it began with 200."""

    def __init__(self) -> None:
        self._head = b""
        self._left: int | None = None
        self.cut = False

    def take(self, received: bytes) -> bool:
        """Whether it is whole now. Raises WrongAnswerError for another status, and for an end before the end."""
        if not received:
            raise CutError("the connection ended before the answer was whole")
        if self._left is None:
            self._head += received
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return False
            self._left = self._length(head) - len(body)
        else:
            self._left -= len(received)
        return self._left == 0

    def _length(self, head: bytes) -> int:
        status, *fields = head.decode("latin-1").split("\r\n")
        if " 200 " not in f"{status} ":
            raise WrongAnswerError(status)
        named = dict(field.lower().split(": ", 1) for field in fields)
        return int(named["content-length"])


def finish(client: socket.socket, answer: Answer) -> None:
    """Read to the end of the answer, or until it is cut off. Raises WrongAnswerError, TimeoutError."""
    try:
        while not answer.cut and not answer.take(client.recv(1 << 20)):
            continue
    except (ConnectionResetError, CutError):
        answer.cut = True


def idle(port: int, asked: bytes, count: int, stack: ExitStack) -> None:
    """So many connections on each of which one question was answered, all still open. Raises WrongAnswerError if they are not."""
    clients = [stack.enter_context(dial(port)) for _ in range(count)]
    for client in clients:
        client.sendall(asked)
        finish(client, Answer())
    for client in clients:
        client.setblocking(False)
        try:
            client.recv(1)
        except BlockingIOError:
            continue  # nothing to read: still open
        raise WrongAnswerError("an idle connection was closed or given bytes")


def sip(clients: Sequence[tuple[socket.socket, Answer]]) -> None:
    """Each takes a little, if something is there. Raises WrongAnswerError for one that was hung up on."""
    for client, answer in clients:
        try:
            if not answer.cut:
                answer.take(client.recv(SIP))
        except BlockingIOError:
            continue
        except (ConnectionResetError, CutError):
            answer.cut = True


def sipping(port: int, asked: bytes, options: argparse.Namespace, stack: ExitStack) -> list[tuple[socket.socket, Answer]]:
    """Clients that take at most 16 KiB/s of their answers for a while; what has not come yet is still to be read."""
    clients: list[tuple[socket.socket, Answer]] = []
    sipped = time.monotonic()
    for _ in range(options.slow):
        client, answer = stack.enter_context(dial(port, SIP)), Answer()
        client.sendall(asked)
        answer.take(client.recv(SIP))  # its beginning: the next one asks when this one is being answered
        client.setblocking(False)
        clients.append((client, answer))
        if time.monotonic() - sipped > SIP_EVERY:  # who reads nothing at all is rightly cut off
            sip(clients)
            sipped = time.monotonic()
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        time.sleep(SIP_EVERY)
        sip(clients)
    return clients


def measure(peer: Peer, place: Place, kind: str, options: argparse.Namespace) -> Held:
    """A fresh process that has served a few requests, then these clients. Raises StartError, WrongAnswerError, OSError."""
    started = peer.start(place)
    running, headers = started.running, started.credentials[peer.asks[0].credential]
    try:
        for name in ("1k", "1m") * 4:
            check_http(started.port, traffic.question(name), headers)
        before, kernel = running.rss_bytes(), buffers.kernel_bytes()
        running.reset_peak()
        with ExitStack() as stack:
            if kind == IDLE:
                count, clients = options.idle, []
                idle(started.port, written(traffic.question("1k"), headers), count, stack)
            else:
                clients = sipping(started.port, written(traffic.question("1m"), headers), options, stack)
                count = options.slow
            held = running.peak_bytes() if clients else running.rss_bytes()
            kernel = buffers.kernel_bytes() - kernel
            for client, answer in clients:  # and nobody has lost a byte without being told so
                client.settimeout(TIMEOUT)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                finish(client, answer)
    finally:
        running.stop()
    cut = sum(answer.cut for _, answer in clients)
    return Held(peer.name, kind, count, before / 1e6, held / 1e6, kernel / 1e6, cut)


def table(found: Sequence[Held]) -> str:
    """As people read it."""
    lines: list[tuple[str, ...]] = [
        ("program", "clients", "count", "RSS before MB", "with them MB", "more MB", "KB each", "kernel MB", "cut off", "")
    ]
    for held in found:
        each = held.more_mb * 1000 / held.count
        figures = (held.before_mb, held.with_mb, held.more_mb, each, held.kernel_mb)
        lines.append((held.program, held.clients, str(held.count), *(f"{figure:.1f}" for figure in figures), str(held.cut), ""))
    return results.columns(lines)


def verdicts(found: Sequence[Held]) -> list[str]:
    """Whether Penstock holds slow readers within the goal, a line for each kind that was measured."""
    mine = [held for held in found if held.program == "penstock" and held.clients != IDLE]
    return [
        f"goal: {held.count} {held.clients} of 1 MB cost ≤ {SLOW_GOAL_MB:g} MB: "
        f"{'reached' if held.more_mb <= SLOW_GOAL_MB else 'missed'} ({held.more_mb:.0f} MB)"
        for held in mine
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("loadtest.memory", description=__doc__, epilog="example: python -m loadtest.memory")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections (default 5000)")
    parser.add_argument("--slow", type=int, default=500, help="slow readers (default 500)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long they read slowly (default 8)")
    parser.add_argument("--output", type=Path, help="JSON file to keep it in")
    names = [peer.name for peer in PEERS]
    standard = ["nginx", "haproxy", "envoy", "penstock"]
    parser.add_argument("--only", nargs="+", choices=names, default=standard, help="measure only these")
    options = parser.parse_args(arguments)
    if min(options.idle, options.slow) < 1 or options.seconds <= 0:
        parser.error("--idle and --slow are at least 1, --seconds above 0")
    return options


def run(options: argparse.Namespace) -> tuple[list[Held], list[str]]:
    """Every kind of client before every program, and what failed. Raises StartError when there is no backend."""
    found: list[Held] = []
    failures: list[str] = []
    pinned = processes.cores()
    for kind in KINDS:
        if kind == SLOW_SMALL:
            try:
                buffers.make_small()
            except OSError as reason:
                failures.append(f"{kind}: {reason}")
                continue
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-memory-")))
            fixed, port = backend.start(folder, {pinned.load})
            stack.callback(fixed.stop)
            for peer in (peer for peer in PEERS if peer.name in options.only):
                try:
                    found.append(measure(peer, Place(folder, port, frozenset({pinned.subject})), kind, options))
                except (StartError, WrongAnswerError, OSError) as reason:
                    failures.append(f"{peer.name}, {kind}: {type(reason).__name__}: {reason}")
    return found, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 1: a program failed its clients; 2: nothing could be measured. A missed goal is said, and is no failure."""
    options = parse(arguments)
    processes.stop_on_sigterm()
    files, needed = processes.many_files(), 2 * options.idle + SPARE_FILES
    if files < needed:
        print(
            f"nothing measured: {options.idle} connections take {needed} open files, the hard limit is {files}", file=sys.stderr
        )
        return 2
    try:
        found, failures = run(options)
    except StartError as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    print(table(found), *verdicts(found), *(f"left out: {failure}" for failure in failures), sep="\n")
    if options.output:
        results.keep(
            {"held": [{**asdict(held), "more_mb": held.more_mb} for held in found], "failures": failures}, options.output
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
