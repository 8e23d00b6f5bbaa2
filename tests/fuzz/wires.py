"""What a socket does to a stream, under a fuzz target's control: cuts it anywhere, holds it back, ends it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextvars import Context
from itertools import pairwise
from typing import TypeVarTuple

from hypothesis import settings
from hypothesis import strategies as st

Ts = TypeVarTuple("Ts")
OFTEN = settings(max_examples=max(300, settings().max_examples))  # the long run's profile asks for more

CUTS = st.lists(st.integers(1, 1 << 12), max_size=12)

PIECES = (b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"0", b"0\r\n\r\n", b"\x0b", b"\xff", b";", b"")
"""What is put into the middle of bytes to see whether a reader still finds their ends."""


def sliced(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream in pieces, none of them empty."""
    edges = sorted({0, len(stream), *(cut % (len(stream) or 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(edges)]


def mutated(stream: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The stream with pieces put in, each in place of so many bytes."""
    for place, length, piece in changes:
        at = place % (len(stream) + 1)
        stream = stream[:at] + piece + stream[at + length :]
    return stream


def changes(pieces: tuple[bytes, ...], most: int) -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    """For `mutated`: at most so many, none in two thirds of the examples."""
    piece = st.one_of(st.sampled_from(pieces), st.binary(max_size=2))
    some = st.lists(st.tuples(st.integers(0, 1 << 12), st.sampled_from([0, 0, 1, 1, 2, 5]), piece), min_size=1, max_size=most)
    return st.one_of(st.just([]), st.just([]), some)


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and knows how the socket was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.shut = False  # our side
        self.closed = False  # both
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.shut, "written after the last answer"
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.shut = True

    def close(self) -> None:
        self.shut = self.closed = True

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return Healthy() if name == "socket" else default


class Healthy:
    """A socket whose other side is there."""

    def getsockopt(self, level: int, name: int) -> int:
        assert (socket.SOL_SOCKET, socket.SO_ERROR) == (level, name)
        return 0


class HastyLoop(asyncio.SelectorEventLoop):
    """A loop on which every delay is over in the next turn."""

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_later(0, callback, *args, context=context)
