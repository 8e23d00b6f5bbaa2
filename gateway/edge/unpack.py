"""The content codings that a body may come in, undone step by step, so that whoever collects it can stop in time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from typing import Any

# After each step: how many bytes of the body are used up, and what came out. Raises one of BROKEN for a stream that is
# broken, cut short or followed by something.
Steps = Iterator[tuple[int, bytes]]

_IN = 16 * 1024  # bytes that go into one step
_OUT = 256 * 1024  # and that may come out of it
_MEMBERS = 2048  # of one gzip body; block gzip makes one of every 64 KiB
_WINDOW = 8 * 1024 * 1024  # the most that a zstd frame may refer back to (RFC 9659)
_ZSTD_IN = 256  # a step's input, because zstandard does not bound what comes out: four bytes may mean 128 KiB
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's window bits: which wrapping to expect


def gzip(body: bytes) -> Steps:
    """RFC 1952: one member after another."""
    at = 0
    for _ in range(_MEMBERS):
        at = yield from _zlib(body, at, _GZIP)
        if at == len(body):
            return
    raise zlib.error


def deflate(body: bytes) -> Steps:
    """RFC 1950; but some clients mean RFC 1951 by it and send no header, which shows in the first two bytes."""
    headed = len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    if (yield from _zlib(body, 0, _ZLIB if headed else _RAW)) != len(body):
        raise zlib.error


def _zlib(body: bytes, at: int, wrapping: int) -> Generator[tuple[int, bytes], None, int]:
    stream = zlib.decompressobj(wrapping)
    while not stream.eof:
        piece = stream.unconsumed_tail
        if not piece:
            piece = body[at : at + _IN]
            at += len(piece)
        out = stream.decompress(piece, _OUT)
        if not piece and not out:
            raise zlib.error
        yield at, out
    return at - len(stream.unused_data)


def _brotli(body: bytes) -> Steps:
    stream = brotli.Decompressor()
    at = 0
    while not stream.is_finished():
        piece = body[at : at + _IN] if stream.can_accept_more_data() else b""
        at += len(piece)
        out = stream.process(piece, output_buffer_limit=_OUT)
        if not piece and not out:
            raise zlib.error
        yield at, out
    if at != len(body):
        raise zlib.error


def _zstd(body: bytes) -> Steps:
    stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    for at in range(0, len(body), _ZSTD_IN):
        yield at + _ZSTD_IN, stream.decompress(body[at : at + _ZSTD_IN])
    if not stream.eof or stream.unused_data:
        raise zlib.error


def _installed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None


brotli = _installed("brotli")
zstandard = _installed("zstandard")

CODINGS: dict[str, Callable[[bytes], Steps]] = {"gzip": gzip, "deflate": deflate}
"""By name, the optional ones where their library is there."""

BROKEN: tuple[type[Exception], ...] = (zlib.error,)

if brotli is not None and hasattr(brotli.Decompressor, "can_accept_more_data"):  # before 1.2 its output had no bound
    CODINGS["br"] = _brotli
    BROKEN += (brotli.error,)
if zstandard is not None:
    CODINGS["zstd"] = _zstd
    BROKEN += (zstandard.ZstdError,)
