"""What goes to a backend over HTTP/1.1 and what comes back, and the framing of the first, which is always made here anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import LARGEST_ANSWER

# Ours to write (framing), or meant for one connection only (RFC 9110 section 7.6.1): never copied from the caller.
_NOT_FORWARDED = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[!-~]*")
JOIN_BELOW = 32 * 1024  # bytes: copying them costs less than a vectored write
_LENGTH_EXPECTED = frozenset({"POST", "PUT", "PATCH"})  # these say Content-Length: 0, too (RFC 9110 section 8.6)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much a pool may hold, wait and read; seconds and bytes."""

    connect_timeout: float = 1.0
    max_connections: int = 256
    max_idle: int = 64
    idle_lifetime: float = 30.0
    max_body: int = LARGEST_ANSWER
    max_headers: int = 64 * 1024


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """One request: `path` with its query, headers in order, the body in pieces that are sent as they are.

    `described` are more headers, apart because they repeat from request to request: written out once and remembered.
    `repeatable`: asking twice does no harm, so a connection that turns out to be stale may be replaced.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[bytes | memoryview, ...] = ()
    repeatable: bool = True
    described: tuple[tuple[str, str], ...] = ()


class UpstreamResponse(msgspec.Struct, frozen=True, gc=False):
    """One whole answer: header names in lower case, repeated ones joined by `, `; the body without its framing."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def framed(request: UpstreamRequest, authority: str) -> list[bytes | memoryview]:
    """The request as pieces to write, one piece if it is small: head, then body.

    Raises InferenceError (INVALID) for anything that could end a line early or bend the framing.
    """
    length = 0
    for piece in request.body:
        length += len(piece) if isinstance(piece, bytes) else piece.nbytes  # len() of a memoryview counts items
    pieces = [heading(request, authority, length), *request.body]
    return [b"".join(pieces)] if length < JOIN_BELOW else pieces


def heading(request: UpstreamRequest, authority: str, length: int) -> bytes:
    """The head of a request whose body has so many bytes; Content-Length is its last line. Raises INVALID."""
    parts = [_opening(request.method, request.path, authority, request.described)]
    for name, value in request.headers:
        field = _field(name)
        if field:
            parts += (field, value)
    if length or request.method in _LENGTH_EXPECTED:
        parts += ("\r\ncontent-length: ", str(length))
    parts.append("\r\n\r\n")
    head = "".join(parts)
    breaks = (len(parts) >> 1) + 2 + len(request.described)  # one before each field, one before Host, two at the end
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise invalid("a header for the backend holds a line break or NUL", reason="header")
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        raise invalid("a header for the backend holds a character outside ISO 8859-1", reason="header") from None


@lru_cache(maxsize=1024)
def _opening(method: str, path: str, authority: str, described: tuple[tuple[str, str], ...]) -> str:
    """Request line, Host and what describes the body; few different ones are used, so each is checked once."""
    if _TOKEN.fullmatch(method) is None or _TARGET.fullmatch(path) is None:
        raise invalid("the path for the backend holds characters that a request line must not", reason="path")
    return f"{method} {path} HTTP/1.1\r\nhost: {authority}" + "".join([_field(name) + value for name, value in described])


@lru_cache(maxsize=1024)
def _field(name: str) -> str:
    """A line's beginning, empty for what does not go to the backend. Raises InferenceError (INVALID) for no header name."""
    if _TOKEN.fullmatch(name) is None:
        raise invalid("a header for the backend has a name that is none", reason="header")
    return "" if name.lower() in _NOT_FORWARDED else f"\r\n{name}: "


def late(source: str) -> InferenceError:
    """Time was up before the backend's answer was whole."""
    return InferenceError(ErrorKind.DEADLINE, f"backend '{source}' did not answer in time", source=source)
