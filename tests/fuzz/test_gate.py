"""The gate and its framing against hostile bytes: what is handed on is what a strict reader reads, however the bytes are cut."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InferenceError
from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.messages import Admitted, HttpResponse, RequestHead
from gateway.edge.shared import Shared
from tests.fuzz.strict_http import Read, requests
from tests.fuzz.wires import CUTS, OFTEN, PIECES, HastyLoop, Wire, changes, mutated, sliced

pytestmark = pytest.mark.slow

TIGHT = Limits(request_line=40, headers=120, header_count=6, body=300, chunks=6, pipelined=180, unread=40)
TURNS = 12  # of the loop that a slow answer and its follow-up take at most

# Each part of a request, as it should be, and as it should not; or at least as two parsers might read it differently.
GOOD = {
    "before": ["", "", "", "\r\n"],
    "method": ["POST", "POST", "POST", "PUT", "GET", "HEAD"],
    "target": ["/a", "/a", "/slow", "/no", "/a?x=/../", "/a%20b", "/", "http://h/a", "HTTP://H/no"],
    "version": ["HTTP/1.1"] * 8 + ["HTTP/1.0"],
    "host": ["Host: h", "Host: h", "host:h", "HOST:\th "],
    "extra": [
        "", "", "", "X-A: 1", "X-A: a\tb \xe9 ", "X-A:", "Expect: 100-continue", "Connection: keep-alive", "Connection: x-a",
        "Accept: a",
    ],
    "length": ["Content-Length: {}", "content-length:{}", "Content-Length: {} ", "Content-Length: 0{}"],
    "coding": ["Transfer-Encoding: chunked", "transfer-encoding:\tChunked "],
    "size": ["{:x}", "{:x}", "{:x}", "{:X}", "0{:x}", "{:x};a=b", "{:x} ;a"],
    "end": ["\r\n"],
    "trailer": ["", "", "X-T: 1\r\n", "Content-Length: 9\r\n"],
}  # fmt: skip
BAD = {
    "before": ["\n", "\r", " ", "x"],
    "method": ["get", "CONNECT", "TRACE", "PRI", "P(ST", "", "POST "],
    "target": [
        "http://evil/a", "//a", "/../a", "/%2e%2e/a", "/a%2fb", "/a;b", "/%c0%af", "*", "h:80", "/a#b", "/a b", "/\xe9", "", "/\t"
    ],
    "version": ["HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "HTTP/1.1\n", "HTTP/1.10", ""],
    "host": ["Host: h\r\nHost: h", "Host: h, evil", "Host:", "Hos: h", "Host : h", "Host: h\r\n evil", "Host: h/a", "Host: \xe9"],
    "extra": [
        "Connection: close", "Connection: X-A, close", "Connection: content-length", "Connection: transfer-encoding", "Expect: x",
        "Connection: upgrade", "Upgrade: h2c", "X-A : 1", "X A: 1", "X-A: a\r\n folded", "X-A: a\nX-B: b", "X-A: a\rX-B: b",
        "X-A: \0", "X-A: \x0b", ": 1", "no colon", "X-Long: " + "x" * 90, "Content-Length: 0", "Transfer-Encoding: chunked",
        "Content-Type: a\r\nContent-Type: b", "\tX: 1", "X\0: 1", "\r\nX: 1", "X-\xe9: 1", "\r", "A: 1\r\n" * 5 + "A: 1",
    ],
    "length": [
        "Content-Length: +{}", "Content-Length: {0}, {0}", "Content-Length: {0}\r\nContent-Length: {0}", "Content-Length: -{}",
        "Content-Length: 0x{}", "Content-Length: {}_0", "Content-Length: {}\r\nTransfer-Encoding: chunked", "Content-Length: {}.",
        "Content-Length: {}\x0b", "Content-Length: 99999999999999999999{}", "Content-Length : {}", "Content_Length: {}",
        "Content-Length: \xb2", "Content-Length: 1{}", "Content-Length:\r\n {}", "Content-Length:", "Content-Length: {0} {0}",
    ],
    "coding": [
        "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3", "Transfer_Encoding: chunked",
        "Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: ,chunked", "Transfer-Encoding:", "Transfer-Encoding: chunked\x0b", "Transfer-Encoding: chun\0ked",
    ],
    "size": [
        "{:x};" + "e" * 260, "{:x};\x01", "{:x};a\nb", "{:x};\r", "+{:x}", "-{:x}", "0x{:x}", " {:x}", "{:x} ", "{:x}\t", "1{:x}",
        "f{:015x}", "{:x}_", "{:x},", "", "{:x}\n", "{:x}\r",
    ],
    "end": ["", "\n", "\r", "\r\r", "\n\n", "xx", "\r\n\r\n", " \r\n", "x\r\n", "\n\r"],
    "trailer": ["bad\r\n", "X : 1\r\n", "X: \0\r\n", "X: 1\n", " x\r\n", "\n", "X: 1\r", ": 1\r\n"],
}  # fmt: skip
INSIDE = b"GET /inside HTTP/1.1\r\nHost: h\r\n\r\n"  # a request that lies in a body
BODIES = st.one_of(st.binary(max_size=6), st.sampled_from([b"", b"0\r\n\r\n", b"\r\n", INSIDE]))
INSERTED = (*PIECES, b"GET / HTTP/1.1\r\n")
FLAWS = st.sampled_from([*[""] * (2 * len(BAD)), *BAD, "wrong length"])


@st.composite
def asked(draw: st.DrawFn) -> tuple[bytes, bool]:
    """One request, with one flaw at most, and whether it has none."""
    flaw = draw(FLAWS)

    def part(name: str) -> str:
        return draw(st.sampled_from((BAD if flaw == name else GOOD)[name]))

    framing, body = "", b""
    way = {"length": 1, "wrong length": 1, "coding": 2, "size": 2, "end": 2, "trailer": 2}.get(flaw, draw(st.integers(0, 2)))
    if way == 1:
        body = draw(BODIES)
        framing = part("length").format(
            max(0, len(body) + (draw(st.sampled_from([1, -1, 200])) if flaw == "wrong length" else 0))
        )
    elif way == 2:
        framing = part("coding")
        chunks = draw(st.lists(BODIES.filter(bool), max_size=4))
        coded = [(f"{part('size').format(len(chunk))}\r\n", chunk, part("end")) for chunk in chunks]
        body = b"".join(size.encode("latin-1") + chunk + end.encode() for size, chunk, end in coded)
        body += b"0\r\n" + part("trailer").encode("latin-1") + b"\r\n"
    fields = draw(st.permutations([part("host"), framing, part("extra")]))
    version = part("version") if flaw or not framing.lower().startswith("transfer") else "HTTP/1.1"
    line = f"{part('before')}{part('method')} {part('target')} {version}"
    return "\r\n".join([line, *filter(None, fields), "", ""]).encode("latin-1") + body, not flaw


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A few requests, or many times the same with another behind; and whether there is nothing to refuse."""
    parts = draw(st.lists(asked(), min_size=1, max_size=4))
    if draw(st.integers(0, 9)) == 0:
        parts[:-1] = [min(parts)] * 35
    marred = draw(changes(INSERTED, 2))
    return mutated(b"".join(part for part, _ in parts), marred), not marred and all(sound for _, sound in parts)


@dataclass
class Turn:
    """One request from admission to answer, or a refusal of bytes that never became one (`head` is None)."""

    head: RequestHead | None
    body: bytes | None = None
    status: int = 0


@dataclass
class Application:
    """Answers according to the path, each with its own number, and keeps every request it was handed."""

    turns: list[Turn] = field(default_factory=list)
    refused: bool = False

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        assert not self.refused, "a request was handed on after a refusal"
        assert all(turn.status for turn in self.turns), "a request was handed on before the answer to the one before it"
        turn = Turn(head)
        self.turns.append(turn)
        number = ("X-Number", str(len(self.turns)))
        if head.path == "/no":
            turn.status = 401
            return HttpResponse(401, (number,), b"no")

        async def answer(body: bytes) -> HttpResponse:
            turn.body = body
            for _ in range(3 if head.path == "/slow" else 0):
                await asyncio.sleep(0)
            turn.status = 200
            return HttpResponse(200, (number,), body)

        return answer

    def left(self, stage: str) -> None:
        """Nobody counts."""

    def refuse(self, error: InferenceError, code: int, head: RequestHead | None) -> HttpResponse:
        self.refused = True
        if not self.turns or self.turns[-1].status:
            self.turns.append(Turn(None))
        self.turns[-1].status = code
        return HttpResponse(
            code, (("X-Number", str(len(self.turns))),), b"refused" if head is None or head.method != "HEAD" else b""
        )


@dataclass
class Outcome:
    """What became of a stream: what the application saw, and what the client."""

    turns: list[Turn]
    wire: Wire

    @property
    def requests(self) -> list[tuple[str, str, str, dict[str, str], bytes | None]]:
        return [
            (turn.head.method, turn.head.path, turn.head.query, dict(turn.head.headers), turn.body)
            for turn in self.turns
            if turn.head is not None
        ]

    @property
    def verdicts(self) -> list[int]:
        """Every answer; which of two faults a refusal names may depend on which is seen first."""
        return [turn.status if turn.status in (200, 401) else 400 for turn in self.turns if turn.status]


async def deliver(pieces: list[bytes], limits: Limits, *, stuffs: int, ended: bool) -> Outcome:
    """One connection's life. `stuffs`: bits that say before which pieces the client stops to take its answers for a while."""
    application, wire = Application(), Wire()
    connection = Connection(Shared(application, limits))
    connection.connection_made(wire)
    for number, piece in enumerate(pieces):
        if wire.closed:
            break
        stuffed = stuffs >> (number % 16) & 1
        if stuffed:
            connection.pause_writing()
        connection.data_received(piece)
        await asyncio.sleep(0)
        if stuffed:
            connection.resume_writing()
        for _ in range(1000):  # reading pauses while one request is answered and goes on without fail
            if not wire.paused:
                break
            await asyncio.sleep(0)
        assert not wire.paused, "reading never goes on"
    if ended and not wire.closed and not connection.eof_received():
        wire.close()
    for _ in range(TURNS * (1 + b"".join(pieces).count(b"\n") // 2)):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return Outcome(application.turns, wire)


def answers(outcome: Outcome) -> list[tuple[int, str]]:
    """Status and number of every answer written, read by their lengths; interim ones left out."""
    methods = [turn.head.method if turn.head else "" for turn in outcome.turns]
    found, rest, closing = list[tuple[int, str]](), outcome.wire.written, False
    while rest:
        head, end, rest = rest.partition(b"\r\n\r\n")
        assert end, "half an answer"
        lines = head.decode().split("\r\n")
        if lines[0].startswith("HTTP/1.1 100 "):
            continue
        fields = dict(line.split(": ", 1) for line in lines[1:])
        length = 0 if methods[len(found)] == "HEAD" else int(fields["Content-Length"])
        assert length <= len(rest), "half a body"
        rest = rest[length:]
        found.append((int(lines[0].split(" ")[1]), fields["X-Number"]))
        assert not closing, "an answer behind the last"
        closing = fields.get("Connection") == "close"
    assert outcome.wire.shut or not closing, "said to be the last answer, and the connection goes on"
    return found


def expected_headers(read: Read) -> dict[str, str]:
    """The fields as the application is to see them."""
    nominated = {option.strip(" \t").lower() for value in read.every("connection") for option in value.split(",")}
    names = dict.fromkeys(name for name, _ in read.fields)
    return {name: ", ".join(read.every(name)) for name in names if name not in nominated - {"close", "keep-alive"}}


def check(outcome: Outcome, read: list[Read]) -> None:
    """One outcome against the strict reading of the stream."""
    given_answers = [(turn.status, str(number)) for number, turn in enumerate(outcome.turns, 1) if turn.status]
    assert given_answers == answers(outcome)
    if any(turn.status not in (0, 200, 401) for turn in outcome.turns):
        assert outcome.wire.shut, "refused, and the connection goes on"
    for got, wanted in zip_longest(outcome.requests, read):
        if got is None:
            break  # the gate may refuse more than the reader does
        assert wanted is not None, f"{got} is no request by the strict reading"
        method, target, _ = wanted.line
        path, _, query = target[7:].partition("/")[2].partition("?") if target[0] != "/" else target.partition("?")
        path = path if target[0] == "/" else "/" + path
        assert (method, path, query, expected_headers(wanted)) == got[:4]
        assert got[4] is None or wanted.body == got[4]


@OFTEN
@given(streams(), CUTS, st.integers(0, 0xFFFF), st.booleans(), st.booleans())
def test_hostile_requests(sent: tuple[bytes, bool], cuts: list[int], stuffs: int, ended: bool, tight: bool) -> None:
    """Only what a strict reader reads is handed on, each request is answered once and in order, whatever the cuts are."""
    (stream, sound), limits = sent, TIGHT if tight else Limits()
    read = list(requests(stream))
    ways = [[stream], sliced(stream, cuts), sliced(stream, list(range(len(stream))))]

    async def every() -> list[Outcome]:
        return [await deliver(pieces, limits, stuffs=stuffs if number else 0, ended=ended) for number, pieces in enumerate(ways)]

    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        whole, *others = runner.run(every())
    check(whole, read)
    for other in others:
        check(other, read)
        assert whole.requests == other.requests
        assert whole.verdicts == other.verdicts
    if sound and not tight:
        assert {200, 401} >= {turn.status for turn in whole.turns}
