"""Collecting one request body, of known length or chunked: pure readers that say where the body ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from gateway.edge.gate import RefusedError

# A client that cuts its body into crumbs pays with its own bytes, not with our memory: they go into one bytearray, never into a
# list of small objects. Pieces that are large, as those of a body that comes at once, are kept as they came and copied once.
_LARGE = 16 * 1024


class BodyReader(Protocol):
    """Takes bytes as they come; `take` returns what lies behind the body once that is whole, else None."""

    @property
    def received(self) -> int:
        """Bytes of the body so far, framing not counted."""
        ...

    def take(self, piece: bytes) -> bytes | None: ...

    def whole(self) -> bytes: ...


class SizedBody:
    """A body of `length` bytes."""

    __slots__ = ("_length", "_pieces", "received")

    def __init__(self, length: int) -> None:
        self._length = length
        self._pieces: list[bytes | bytearray] = []
        self.received = 0

    def take(self, piece: bytes) -> bytes | None:
        missing = self._length - self.received
        behind = piece[missing:] if len(piece) >= missing else None
        if behind:
            piece = piece[:missing]
        self.received += len(piece)
        if len(piece) >= _LARGE:
            self._pieces.append(piece)
        elif self._pieces and isinstance(last := self._pieces[-1], bytearray):
            last += piece
        else:
            self._pieces.append(bytearray(piece))
        return behind

    def whole(self) -> bytes:
        return b"".join(self._pieces)


_LINE = 256  # bytes of a chunk's size line: sixteen digits would do, the rest is for extensions
_TRAILERS = 8 * 1024
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class ChunkedBody:
    """A chunked body (RFC 9112 section 7.1) of at most `limit` bytes in `chunks` chunks.

    Extensions and trailers are read and dropped. Raises RefusedError with 400 for anything but hexadecimal sizes and CR LF
    line ends, with 413 beyond the limits.
    """

    __slots__ = ("_body", "_chunks", "_left", "_limit", "_rest", "_step", "_trailers")

    def __init__(self, limit: int, chunks: int) -> None:
        self._limit = limit
        self._chunks = chunks  # that may come yet
        self._body = bytearray()
        self._rest = b""  # a line whose end has not come yet
        self._left = 0  # of the chunk being read
        self._trailers = 0
        # Plain functions: a bound method kept in its own object would be a reference cycle for each request.
        self._step: Callable[[ChunkedBody, bytes, int], int] = ChunkedBody._size

    @property
    def received(self) -> int:
        return len(self._body)

    def whole(self) -> bytes:
        return bytes(self._body)

    def take(self, piece: bytes) -> bytes | None:
        if self._rest:
            piece = self._rest + piece
        at = 0
        while self._step is not ChunkedBody._done:
            after = self._step(self, piece, at)
            if after < 0:
                self._rest = piece[at:]
                return None
            at = after
        return piece[at:]

    # Each step reads one element at `at` and returns where the next begins, or -1 when more bytes must come first.

    def _size(self, piece: bytes, at: int) -> int:
        end = piece.find(b"\r\n", at, at + _LINE)
        if end < 0:
            return _incomplete(piece, at, _LINE)
        match = _SIZE.fullmatch(piece, at, end)
        if match is None:
            raise _broken()
        size = int(match[1], 16)
        if size == 0:
            self._step = ChunkedBody._trailer
        elif size > self._limit - len(self._body):
            raise RefusedError(413, f"the body is longer than {self._limit} bytes", "body")
        elif not self._chunks:
            raise RefusedError(413, "the body comes in too many chunks: make them larger", "chunks")
        else:
            self._chunks -= 1
            self._left = size
            self._step = ChunkedBody._chunk
        return end + 2

    def _chunk(self, piece: bytes, at: int) -> int:
        if at >= len(piece):
            return -1
        part = piece[at : at + self._left]
        self._body += part
        self._left -= len(part)
        if not self._left:
            self._step = ChunkedBody._end
        return at + len(part)

    def _end(self, piece: bytes, at: int) -> int:
        mark = piece[at : at + 2]
        if mark == b"\r\n":
            self._step = ChunkedBody._size
            return at + 2
        if mark in (b"", b"\r"):
            return -1
        raise _broken()

    def _trailer(self, piece: bytes, at: int) -> int:
        end = piece.find(b"\r\n", at, at + _TRAILERS)
        if end < 0:
            return _incomplete(piece, at, _TRAILERS)
        self._trailers += end + 2 - at
        if end == at:
            self._step = ChunkedBody._done
        elif self._trailers > _TRAILERS:
            raise RefusedError(431, f"the trailers are longer than {_TRAILERS} bytes", "headers")
        elif not _TRAILER.fullmatch(piece, at, end):
            raise _broken()
        return end + 2

    def _done(self, piece: bytes, at: int) -> int:
        return at


def _incomplete(piece: bytes, at: int, longest: int) -> int:
    if len(piece) - at >= longest or piece.find(b"\n", at) >= 0:
        raise _broken()
    return -1


def _broken() -> RefusedError:
    return RefusedError(400, "the chunked body is malformed", "framing")
