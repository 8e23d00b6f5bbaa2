"""One connection reads exactly one answer per request, whole or not at all, and knows when it must not be used again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from backends.http1.connection import Connection
from backends.http1.messages import PoolLimits, UpstreamResponse
from backends.promise import Promise

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Type: a/b\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\nX-Two: 1\r\n\r\n3;name=v\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: t\r\n\r\n"
UNTIL_EOF = OK + b"Connection: keep-alive\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 3\r\n\r\n" + LENGTH
# stream, ends with EOF, status, body, reusable
STREAMS = {
    "length": (LENGTH, False, 200, b"hello", True),
    "chunked": (CHUNKED, False, 200, b"hello", True),
    "until-eof": (UNTIL_EOF, True, 200, b"hello", False),
    "interim": (INTERIM, False, 200, b"hello", True),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", False, 200, b"", True),
    "no-content": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False, 204, b"", True),
    "not-modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", False, 304, b"", True),
    "close": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", False, 200, b"hello", False),
    "http/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", False, 200, b"hello", False),
    "http/1.0-kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", False, 200, b"hello", True),
    "error": (b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello", False, 503, b"hello", True),
}

REPEATED = (
    OK + b"Name: a\r\nContent-Length: 5\r\n\r\nhello",
    OK + b"Name: b\r\nContent-Length: 5\r\n\r\nhello",
    OK + b"Name: a\r\nContent-Length: 0\r\n\r\n",
    OK + b"Name: aa\r\nContent-Length: 5\r\n\r\nHTTP/",
    b"HTTP/1.1 404 OK\r\nName: a\r\nContent-Length: 5\r\n\r\nworld",
)


class Wire(asyncio.Transport):
    """A transport that keeps what is written and says it was aborted."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.sent = b""
        self.unsent = unsent
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


def failure(answer: Promise[UpstreamResponse]) -> BaseException | None:
    """What the answer failed with."""
    assert answer.done()
    try:
        answer.result()
    except InferenceError as error:
        return error
    return None


class Dialogue:
    """A connection, its wire, and the answer it was asked for."""

    def __init__(self, limits: PoolLimits | None = None, unsent: int = 0) -> None:
        self.loop = asyncio.new_event_loop()
        self.wire = Wire(unsent)
        self.ended: list[Connection] = []
        self.connection = Connection(limits or PoolLimits(), "triton", {}, self.ended.append)
        self.connection.connection_made(self.wire)

    def ask(self, *, head_only: bool = False) -> Promise[UpstreamResponse]:
        answer: Promise[UpstreamResponse] = Promise(self.loop)
        self.connection.send([b"question"], answer, head_only=head_only)
        return answer

    def hear(self, *reads: bytes, eof: bool = False) -> None:
        for read in reads:
            if not self.wire.aborted:
                self.connection.data_received(read)
        if eof:
            self.connection.eof_received()
            self.connection.connection_lost(None)

    def refusal(self, answer: Promise[UpstreamResponse]) -> str:
        """The message of the BROKEN error the answer must hold; the connection must be spent."""
        error = failure(answer)
        assert isinstance(error, InferenceError)
        assert (error.kind, error.source) == (ErrorKind.BROKEN, "triton")
        assert (self.connection.reusable, self.wire.aborted) == (False, True)
        return error.message


@pytest.fixture
def dialogue() -> Iterator[Dialogue]:
    """A connection that nobody has asked yet."""
    dialogue = Dialogue()
    yield dialogue
    dialogue.loop.close()


def sliced(stream: bytes, cuts: set[int]) -> list[bytes]:
    """The stream in reads that end at the cuts."""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(stream)), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.sampled_from(sorted(STREAMS)), st.sets(st.integers(1, 200)))
def test_any_slicing_gives_the_same_response(name: str, cuts: set[int]) -> None:
    """However a valid answer's bytes are cut into reads, the response and the connection's fate are the same."""
    stream, eof, status, body, reusable = STREAMS[name]
    whole, cut = Dialogue(), Dialogue()
    answers = whole.ask(), cut.ask()
    whole.hear(stream, eof=eof)
    cut.hear(*sliced(stream, cuts), eof=eof)
    assert (status, body) == (answers[0].result().status, answers[0].result().body)
    assert answers[0].result() == answers[1].result()
    assert (reusable, reusable) == (whole.connection.reusable, cut.connection.reusable)
    assert (not reusable, not reusable) == (whole.wire.aborted, cut.wire.aborted)
    whole.loop.close()
    cut.loop.close()


@given(st.lists(st.tuples(st.sampled_from(REPEATED), st.sets(st.integers(1, 60), max_size=2)), max_size=8))
def test_heads_that_come_again(several: list[tuple[bytes, set[int]]]) -> None:
    """On one connection, in any order, cut anywhere: each answer is its own."""
    dialogue = Dialogue()
    for stream, cuts in several:
        answer = dialogue.ask()
        dialogue.hear(*sliced(stream, cuts))
        found, (head, _, body) = answer.result(), stream.partition(b"\r\n\r\n")
        assert (int(stream[9:12]), body) == (found.status, found.body)
        assert f"Name: {found.headers['name']}\r\n".encode() in head
        assert dialogue.connection.reusable
    dialogue.loop.close()


@given(st.sampled_from(sorted(STREAMS)), st.integers(0, 200), st.binary(max_size=6), st.integers(0, 6))
def test_damaged_streams_give_an_answer_or_broken(name: str, where: int, inserted: bytes, removed: int) -> None:
    """Whatever a backend sends, the question ends, with a response or with BROKEN, and nothing else is raised."""
    stream = STREAMS[name][0]
    dialogue = Dialogue()
    answer = dialogue.ask()
    dialogue.hear(stream[:where] + inserted + stream[where + removed :], eof=True)
    assert answer.done()
    if failure(answer) is not None:
        dialogue.refusal(answer)
    assert not dialogue.connection.reusable
    dialogue.loop.close()


@pytest.mark.parametrize("name", ["length", "chunked", "interim"])
def test_every_cut_is_broken(name: str) -> None:
    """An answer that ends before its announced end is no answer, wherever it ends, by close or by reset."""
    stream = STREAMS[name][0]
    for end in range(len(stream)):
        for lost in (None, ConnectionResetError()):
            dialogue = Dialogue()
            answer = dialogue.ask()
            dialogue.hear(stream[:end] if end else b"", eof=lost is None)
            dialogue.connection.connection_lost(lost) if lost else None
            assert dialogue.refusal(answer) == "backend 'triton' closed the connection before its answer was complete"
            dialogue.loop.close()


def test_reset_of_an_answer_delimited_by_eof_is_broken(dialogue: Dialogue) -> None:
    """Only an orderly end completes an answer without a length."""
    answer = dialogue.ask()
    dialogue.hear(UNTIL_EOF)
    dialogue.connection.connection_lost(ConnectionResetError())
    dialogue.refusal(answer)


def test_headers_are_lower_case_and_repeated_ones_joined(dialogue: Dialogue) -> None:
    """Names come in lower case, values without surrounding blanks, repeated headers as one list; trailers are left out."""
    answer = dialogue.ask()
    dialogue.hear(OK + b"X-A: 1 \t\r\nVary: a\r\nvary:b\r\nX-E:\r\nX-L: \xe9\r\nContent-Length: 0\r\n\r\n")
    assert answer.result().headers == {"x-a": "1", "vary": "a, b", "x-e": "", "x-l": "é", "content-length": "0"}


def test_connection_is_used_again(dialogue: Dialogue) -> None:
    """After a whole answer the next one starts from nothing: no header, byte or framing is left over."""
    for name, (stream, eof, status, body, reusable) in STREAMS.items():
        if not reusable or eof:
            continue
        answer = dialogue.ask()
        dialogue.hear(stream)
        assert (name, status, body) == (name, answer.result().status, answer.result().body)
        assert ("x-two" in answer.result().headers) == (name == "chunked")
    assert not dialogue.wire.aborted


@pytest.mark.parametrize("extra", [b"x", LENGTH, b"HTTP", b"\0"])
@pytest.mark.parametrize("name", ["length", "chunked", "no-content", "close"])
def test_extra_bytes_spend_the_connection(dialogue: Dialogue, name: str, extra: bytes) -> None:
    """Bytes after the answer, in the same read or later, never become the next answer."""
    stream, _, status, body, reusable = STREAMS[name]
    answer = dialogue.ask()
    dialogue.hear(stream + extra)
    assert (status, body) == (answer.result().status, answer.result().body)
    assert (dialogue.connection.reusable, dialogue.wire.aborted) == (False, True)
    later = Dialogue()
    later.ask()
    later.hear(stream, extra)
    assert (later.connection.reusable, later.wire.aborted) == (False, True)
    assert ([later.connection] if reusable else []) == later.ended
    later.loop.close()


def test_line_breaks_on_an_idle_connection_spend_it(dialogue: Dialogue) -> None:
    """Even bytes that a parser would skip are bytes nobody asked for."""
    dialogue.ask()
    dialogue.hear(LENGTH, b"\r\n")
    assert (dialogue.connection.reusable, dialogue.wire.aborted) == (False, True)


def test_end_of_an_idle_connection_is_told(dialogue: Dialogue) -> None:
    """The pool hears once that an idle connection ended."""
    dialogue.hear(eof=True)
    assert [dialogue.connection] == dialogue.ended
    assert not dialogue.connection.reusable


def test_asking_an_ended_connection_fails_untouched(dialogue: Dialogue) -> None:
    """A question to a connection that is gone fails at once and says that no byte came back."""
    dialogue.hear(eof=True)
    answer = dialogue.ask()
    dialogue.refusal(answer)
    assert not dialogue.connection.touched


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_does_not_end_the_next(dialogue: Dialogue, status: int) -> None:
    """The end before the next answer's first byte is no answer, whatever the one before was."""
    dialogue.ask()
    dialogue.hear(b"HTTP/1.1 %d Nothing\r\n\r\n" % status)
    assert dialogue.connection.reusable
    answer = dialogue.ask()
    dialogue.hear(eof=True)
    dialogue.refusal(answer)
    assert not dialogue.connection.touched


def test_untouched_until_the_first_byte(dialogue: Dialogue) -> None:
    """The first byte back marks the connection, and the next question starts unmarked."""
    touched = []
    dialogue.ask()
    touched.append(dialogue.connection.touched)
    dialogue.hear(b"H")
    touched.append(dialogue.connection.touched)
    dialogue.hear(LENGTH[1:])
    dialogue.ask()
    touched.append(dialogue.connection.touched)
    assert touched == [False, True, False]


def test_answer_to_head_has_no_body(dialogue: Dialogue) -> None:
    """The answer to HEAD announces a length and ends with its headers; its connection is not used again."""
    answer = dialogue.ask(head_only=True)
    dialogue.hear(OK + b"Content-Length: 500\r\n\r\n")
    assert (answer.result().headers["content-length"], answer.result().body) == ("500", b"")
    assert dialogue.wire.aborted


def test_answer_before_the_request_is_sent_ends_the_connection() -> None:
    """An early answer is delivered, and the rest of the request is not sent."""
    dialogue = Dialogue(unsent=1000)
    answer = dialogue.ask()
    dialogue.hear(LENGTH)
    assert answer.result().body == b"hello"
    assert (dialogue.connection.reusable, dialogue.wire.aborted) == (False, True)
    dialogue.loop.close()


def test_answer_for_somebody_who_left_ends_the_connection(dialogue: Dialogue) -> None:
    """An answer that comes in the moment its asker is cancelled is dropped with its connection."""
    answer = dialogue.ask()
    answer.cancel()
    dialogue.hear(LENGTH)
    assert (dialogue.connection.reusable, dialogue.wire.aborted) == (False, True)


def test_deadline_spends_the_connection(dialogue: Dialogue) -> None:
    """A passed deadline fails the answer with DEADLINE and leaves the backend; after an answer it does nothing."""
    answer = dialogue.ask()
    dialogue.hear(LENGTH[:20])
    dialogue.connection.expire()
    error = failure(answer)
    assert isinstance(error, InferenceError)
    assert ErrorKind.DEADLINE is error.kind
    assert dialogue.wire.aborted
    other = Dialogue()
    other.ask()
    other.hear(LENGTH)
    other.connection.expire()
    assert other.connection.reusable
    other.loop.close()


LIMITS = PoolLimits(max_body=100, max_headers=1000)


@pytest.mark.parametrize(
    ("said", "stream"),
    [
        ("more than 100 bytes (limits.answer)", OK + b"Content-Length: 101\r\n\r\n"),
        ("more than 100 bytes", OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n40\r\n" + b"x" * 64),
        ("more than 100 bytes", OK + b"\r\n" + b"x" * 101),
        ("header bytes", OK + b"X-A: " + b"a" * 1000),
        ("header bytes", OK + b"X-A: " + b"a" * 1000 + b"\r\nContent-Length: 1\r\n\r\nx"),
        ("header bytes", b"HTTP/1.1 100 Continue\r\n\r\n" * 60),
        ("header bytes", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: " + b"a" * 1000),
    ],
)
@pytest.mark.parametrize("step", [7, 100_000])
def test_answers_above_the_limits_are_broken(said: str, stream: bytes, step: int) -> None:
    """More body or header bytes than allowed are refused while they come, before they are collected."""
    dialogue = Dialogue(LIMITS)
    answer = dialogue.ask()
    dialogue.hear(*[stream[start : start + step] for start in range(0, len(stream), step)])
    assert said in dialogue.refusal(answer)
    dialogue.loop.close()


def test_answers_at_the_limits_pass() -> None:
    """Exactly as many bytes as allowed are carried; a body in the same read does not count as headers."""
    for stream in (
        OK + b"Content-Length: 100\r\n\r\n" + b"x" * 100,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n",
        OK + b"X-A: " + b"a" * 950 + b"\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
    ):
        dialogue = Dialogue(LIMITS)
        answer = dialogue.ask()
        dialogue.hear(stream)
        assert answer.result().body == b"x" * 100
        dialogue.loop.close()


@pytest.mark.parametrize(
    "stream",
    [
        b"secret",
        b"\x16\x03\x01secret",
        b"HTTP/1.1 OK\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: secret\r\n\r\nsecret",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        OK + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: +1\r\n\r\nx",
        OK + b"Content-Length: \r\n\r\n",
        OK + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nsecret",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nsecret",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"X-A: secret\0\r\n\r\n",
        OK + b"X-A: 1\r\n secret\r\n\r\n",
        OK + b"X A: secret\r\n\r\n",
    ],
)
def test_malformed_answers_are_broken(dialogue: Dialogue, stream: bytes) -> None:
    """What is not exactly one well-framed answer is BROKEN, and the error repeats none of it."""
    answer = dialogue.ask()
    dialogue.hear(stream)
    assert "secret" not in dialogue.refusal(answer)


def test_only_an_idle_one_is_writable() -> None:
    """Not before it is connected, not while it is asked, not when its transport is closing."""
    connection, wire = Connection(PoolLimits(), "triton", {}, lambda _: None), Wire()
    found = [connection.writable]
    connection.connection_made(wire)
    found.append(connection.writable)
    for wire.aborted, connection.reusable in ((True, True), (False, False), (False, True)):
        found.append(connection.writable)
    assert [False, True, False, False, True] == found
