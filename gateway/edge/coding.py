"""Content codings of bodies, both ways, with an end to what a small body may swell to."""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from backends.errors import ErrorKind, InferenceError, invalid
from gateway.edge.unpack import BROKEN, CODINGS, Steps

MIN_DEFLATE = 1024  # bytes; below, a coding costs more than it saves
_INLINE = 256 * 1024  # bytes in or out up to which a thread would cost more than it spares the loop (about 1 ms)
_FREE = 1024 * 1024  # bytes that may come out of however few
_RATIO = 100

_GZIP, _ZLIB = 31, 15  # zlib's window bits: which wrapping to write
_THREADS = ThreadPoolExecutor(2, "inflate")  # few: each may hold twice the limit


class _TooMuchError(Exception):
    pass


async def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """The body without its content coding (one of CODINGS, or none), of at most `limit` bytes.

    Raises InferenceError: UNSUPPORTED for another coding or several, INVALID for a stream that is broken, cut short or
    followed by something, TOO_LARGE beyond `limit` or, past 1 MiB, beyond 100 times what was read of the body.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    steps = CODINGS.get("gzip" if coding == "x-gzip" else coding)
    if steps is None:
        known = ", ".join(CODINGS)
        message = f"this content coding is not known here; one of these is, and one at a time: {known}"
        raise InferenceError(ErrorKind.UNSUPPORTED, message, source="client")
    inflating = _Inflating(steps(body), limit)
    try:
        if len(body) > _INLINE or not inflating.run(_INLINE):
            await asyncio.get_running_loop().run_in_executor(_THREADS, inflating.run, limit)
    except _TooMuchError:
        message = f"the body inflates to more than {limit} bytes, or past {_FREE} to more than {_RATIO} times its size"
        raise InferenceError(ErrorKind.TOO_LARGE, message, source="client", reason="inflated") from None
    except BROKEN:
        raise invalid("the body is not what its Content-Encoding says, is cut short, or of too many parts") from None
    return b"".join(inflating.pieces)


class _Inflating:
    """What has come out so far; begun in the loop, it may be ended in a thread."""

    def __init__(self, steps: Steps, limit: int) -> None:
        self.pieces: list[bytes] = []
        self._steps = steps
        self._limit = limit
        self._size = 0

    def run(self, pause: int) -> bool:
        """Goes on to the end, or until more than `pause` bytes have come out; whether it is the end."""
        for used, piece in self._steps:
            self.pieces.append(piece)
            self._size += len(piece)
            if self._size > min(self._limit, max(_FREE, _RATIO * used)):
                raise _TooMuchError
            if self._size > pause:
                return False
        return True


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
