"""Backends whose answers do not end: refused at the bound, in little memory, which is free again at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from tests.conformance import raw
from tests.conformance.raw import Client, Gate, request

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BLOCK = b" " * (1 << 20)
LEFT = 16 << 20  # bytes: what the C library may keep of what was freed, and then some
DEFAULT = 48 << 20
LARGE = f"backend 'raw' sent an answer of more than {DEFAULT} bytes (limits.answer)"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with the limits it has by itself."""
    with raw.gate(tmp_path_factory.mktemp("endless")) as made:
        yield made


def chunks() -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from repeat(raw.chunked(BLOCK, end=b""))


def small_chunks() -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from repeat(raw.chunked(*[BLOCK[:50]] * 10_000, end=b""))


def until_it_closes() -> Iterator[bytes]:
    yield OK + b"\r\n"
    yield from repeat(BLOCK)


def announced(length: int) -> Callable[[], Iterator[bytes]]:
    def made() -> Iterator[bytes]:
        yield OK + b"Content-Length: %d\r\n\r\n" % length
        for sent in range(0, length, len(BLOCK)):
            yield BLOCK[: length - sent]

    return made


ENDLESS = {
    "chunked": chunks,
    "small chunks": small_chunks,
    "until it closes": until_it_closes,
    "announced": announced(1 << 40),
    "announced, just too long": announced(DEFAULT + 1),
}


def ask(client: Client) -> tuple[int, str, str]:
    """Status, reason and words of what is answered to a question."""
    client.send(request())
    reply = client.reply()
    assert reply is not None
    return reply.status, reply.reason, json.loads(reply.body).get("error", "")


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_answers_are_refused(gate: Gate, kind: str) -> None:
    """One after another is 502 in words that name the limit; the client's connection lives on, and good answers come over it."""
    with gate.client() as client:
        assert (200, "", "") == ask(client)
        before = gate.rss()
        for _ in range(4):
            gate.backend.instead = ENDLESS[kind]
            with gate.peak():
                assert (502, "broken", LARGE) == ask(client)
            gate.backend.instead = None
            assert (200, "", "") == ask(client)
            assert gate.rss() - before <= LEFT


@pytest.mark.parametrize("length", [DEFAULT, DEFAULT // 2])
def test_a_long_answer_is_held_once(gate: Gate, length: int) -> None:
    """As long as allowed, and nothing but blanks: read whole, not held a second time."""
    with gate.client() as client:
        assert (200, "", "") == ask(client)
        gate.backend.instead = announced(length)
        with gate.peak():
            status, reason, _ = ask(client)
        gate.backend.instead = None
        assert (502, "bad-answer") == (status, reason)
        assert (200, "", "") == ask(client)


def test_the_bound_is_the_operators(tmp_path: Path) -> None:
    """What `limits.answer` says is what is compared with."""
    with raw.gate(tmp_path, answer="1KiB") as gate, gate.client() as client:
        for length, reason, words in ((1024, "bad-answer", "cannot be read"), (1025, "broken", "1024 bytes (limits.answer)")):
            gate.backend.instead = announced(length)
            status, found, said = ask(client)
            assert (502, reason, True) == (status, found, said.endswith(words)), said
