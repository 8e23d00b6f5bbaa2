"""Content codings of bodies, both ways, with an end to what a small body may swell to."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache

from backends.errors import ErrorKind, InferenceError, invalid

_INLINE = 256 * 1024  # bytes in or out up to which a thread would cost more than it spares the loop (about 1 ms)
_FREE = 1024 * 1024  # bytes that may come out of however few
_RATIO = 100

_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's window bits: which wrapping to expect


class _TooMuchError(Exception):
    pass


async def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """The body without its content coding (`gzip`, `deflate` or none), of at most `limit` bytes.

    Raises InferenceError: UNSUPPORTED for another coding or several, INVALID for a stream that is broken, cut short or
    followed by something, TOO_LARGE beyond `limit` or, past 1 MiB, beyond 100 times the body.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise InferenceError(
            ErrorKind.UNSUPPORTED, "the content codings known here are gzip and deflate, one at a time", source="client"
        )
    wrappings = (_ZLIB, _RAW) if coding == "deflate" else (_GZIP,)
    most = min(limit, max(_FREE, _RATIO * len(body)))
    try:
        if len(body) <= _INLINE:
            try:
                return _inflate(body, wrappings, min(most, _INLINE))
            except _TooMuchError:
                if most <= _INLINE:
                    raise
        return await asyncio.to_thread(_inflate, body, wrappings, most)
    except _TooMuchError:
        raise InferenceError(
            ErrorKind.TOO_LARGE, f"the body inflates to more than the {most} bytes allowed for it", source="client"
        ) from None
    except zlib.error:
        raise invalid("the body is not what its Content-Encoding says, or is cut short") from None


async def deflate(body: bytes, coding: str) -> bytes:
    """The body in the content coding that `choose` gave; with "" the body itself."""
    if not coding:
        return body
    wrapping = _GZIP if coding == "gzip" else _ZLIB
    if len(body) <= _INLINE:
        return zlib.compress(body, zlib.Z_BEST_SPEED, wrapping)
    return await asyncio.to_thread(zlib.compress, body, zlib.Z_BEST_SPEED, wrapping)


@lru_cache(64)
def choose(accept_encoding: str) -> str:
    """The coding the client likes best of `gzip`, `deflate` and "" (none), by RFC 9110 section 12.5.3; gzip on a tie."""
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        name, _, parameter = element.partition(";")
        weights[name.strip()] = _weight(parameter.strip())
    other = weights.get("*", 0.0)
    plain = weights.get("identity", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", other))
    zlibbed = weights.get("deflate", other)
    if max(gzip, zlibbed) <= 0 or plain > max(gzip, zlibbed):
        return ""
    return "gzip" if gzip >= zlibbed else "deflate"


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    name, _, digits = parameter.partition("=")
    try:
        weight = float(digits)
    except ValueError:
        return 0.0
    return weight if name.strip() == "q" and 0.0 <= weight <= 1.0 else 0.0


def _inflate(body: bytes, wrappings: tuple[int, ...], most: int) -> bytes:
    """`deflate` means zlib's wrapping, but some clients send none; the first wrapping that fits is taken."""
    for wrapping in wrappings[:-1]:
        try:
            return _unwrap(body, wrapping, most)
        except zlib.error:
            continue
    return _unwrap(body, wrappings[-1], most)


def _unwrap(body: bytes, wrapping: int, most: int) -> bytes:
    # One gzip member only, though RFC 1952 allows a row of them: a body of a million empty members costs more than it holds.
    stream = zlib.decompressobj(wrapping)
    whole = stream.decompress(body, most + 1)
    if len(whole) > most:
        raise _TooMuchError
    if not stream.eof or stream.unused_data:
        raise zlib.error
    return whole
