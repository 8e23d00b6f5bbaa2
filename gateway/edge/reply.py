"""Writing one response: the bytes of its head, in which no header can end a line."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus

from gateway.edge.messages import HttpResponse

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = "Connection: close\r\n"
KEEP = "Connection: keep-alive\r\n"

_FRAMING = frozenset({"connection", "content-length", "transfer-encoding", "date", "keep-alive", "trailer"})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_BAD = re.compile(r"[\r\n\0]")
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_GOOD = _STATUS[200]
_JOINED = 64 * 1024  # bytes of a body up to which one copy is cheaper than a second buffer in the write
_REMEMBERED = 1024
_fields: dict[str, str] = {}


def head(response: HttpResponse, length: int, closing: str) -> bytes:
    """Status line and headers up to the empty line. `closing` holds the lines the edge adds: Date, Connection.

    Framing headers of the application are left out, as is every header whose name is no token or whose value holds CR,
    LF or NUL. Values are written as UTF-8.
    """
    first = _STATUS.get(response.status) or f"HTTP/1.1 {response.status} "
    text = f"{first}{response.lines or _remembered(response.fixed) + lines(response.headers)}"
    if response.status == 204 or response.status == 304:  # RFC 9110 section 8.6: these carry no length
        return f"{text}\r\n{closing}\r\n".encode("utf-8", "replace")
    return f"{text}\r\nContent-Length: {length}\r\n{closing}\r\n".encode("utf-8", "replace")


def pieces(response: HttpResponse, method: str, closing: str) -> tuple[bytes, bytes | memoryview] | tuple[bytes]:
    """The whole answer as it is written: in one piece, unless its body is so large that it is not to be copied."""
    body = response.body
    length = body.nbytes if isinstance(body, memoryview) else len(body)
    first = head(response, length, closing)
    if not length or bodiless(response.status, method):
        return (first,)
    return (b"".join((first, body)),) if length <= _JOINED else (first, body)


def whole(lines: str, body: bytes, closing: str) -> bytes | None:
    """A good answer with these headers on a connection that stays, as `pieces` writes it; None where it is not one piece."""
    length = len(body)
    if length > _JOINED:
        return None
    return f"{_GOOD}{lines}\r\nContent-Length: {length}\r\n{closing}\r\n".encode("utf-8", "replace") + body


def parts(lines: str, body: bytes | memoryview) -> tuple[bytes, bytes, bytes]:
    """A good answer on a connection that stays: what is before further lines, between these and the date's, and behind it."""
    return f"{_GOOD}{lines}".encode("utf-8", "replace"), f"\r\nContent-Length: {len(body)}\r\n".encode(), b"\r\n" + body


def lines(headers: tuple[tuple[str, str], ...]) -> str:
    """Each header as a line break and its line; whoever adds to what this gives answers for it."""
    pieces: list[str] = []
    for name, value in headers:
        field = _fields.get(name)
        if field is None:
            field = _field(name)
        if field:
            pieces += (field, value)
    text = "".join(pieces)
    breaks = len(pieces) >> 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        kept = [field + value for field, value in zip(pieces[::2], pieces[1::2], strict=True) if not _BAD.search(value)]
        text = "".join(kept)
    return text


_remembered = lru_cache(maxsize=1024)(lines)


def bodiless(status: int, method: str) -> bool:
    """Whether this answer ends with its head (RFC 9112 section 6.3)."""
    return method == "HEAD" or status == 204 or status == 304


def _field(name: str) -> str:
    field = f"\r\n{name}: " if _NAME.fullmatch(name) and name.lower() not in _FRAMING else ""
    if len(_fields) < _REMEMBERED:
        _fields[name] = field
    return field
