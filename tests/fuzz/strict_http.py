"""A second reader of HTTP/1.1 for the fuzz targets: slow, written from RFC 9112 alone, sharing nothing with the product.

It reads a stream that is there as a whole and repairs nothing: what it cannot read by the letter ends the reading.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
DIGITS = frozenset(b"0123456789")
HEX = frozenset(b"0123456789abcdefABCDEF")
VALUE = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
Fields = list[tuple[str, str]]


class NotHttpError(Exception):
    """The stream breaks the grammar here."""


class MoreError(Exception):
    """The stream ends before this element does."""


@dataclass(frozen=True)
class Read:
    """One message: its first line's parts, its fields, and its body, which is None if it is cut off or malformed.

    `end` is where the next message would begin; `kept`: one may.
    """

    line: tuple[str, str, str]
    fields: Fields
    body: bytes | None
    end: int
    kept: bool

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


def requests(stream: bytes) -> Iterator[Read]:
    """The requests of a client's stream, up to the first that is not whole, or asks that none follow."""
    at = 0
    while True:
        try:
            found = _request(stream, at)
        except (NotHttpError, MoreError):
            return
        yield found
        if found.body is None or not found.kept:
            return
        at = found.end


def _request(stream: bytes, at: int) -> Read:
    if stream.startswith(b"\r\n", at):  # section 2.2: at least one empty line before a request is to be ignored
        at += 2
    first, fields, at = _head(stream, at)
    line = _three(first)
    _, target, version = line
    if version not in ("HTTP/1.1", "HTTP/1.0") or not target.isascii() or not target.isprintable() or " " in target:
        raise NotHttpError
    for name in ("host", "content-length", "transfer-encoding", "authorization", "content-type"):
        _demand(sum(name == key for key, _ in fields) <= 1)
    hosts = [value for key, value in fields if key == "host"]
    _demand(version == "HTTP/1.0" or len(hosts) == 1)
    _safe(target, hosts)
    lengths, codings = _framing(fields)
    _demand(not codings or (version == "HTTP/1.1" and not lengths))
    options = _options(fields)
    kept = "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)
    try:
        body, end = _chunked(stream, at) if codings else _sized(stream, at, lengths[0] if lengths else 0)
    except (NotHttpError, MoreError):
        return Read(line, fields, None, at, False)
    return Read(line, fields, body, end, kept)


def _safe(target: str, hosts: list[str]) -> None:
    """That no two readers can take the path for different ones."""
    if target.lower().startswith("http://"):
        authority, slash, rest = target[7:].partition("/")
        _demand(bool(slash) and [authority.lower()] == [host.lower() for host in hosts])
        target = slash + rest
    path = target.partition("?")[0]
    _demand(path.startswith("/") and "#" not in target)
    plain = unquote_to_bytes(path)
    _demand(plain.count(b"/") == path.count("/") and not any(bad in plain for bad in (b"\\", b";", b"//", b"\0", b"\r", b"\n")))
    _demand(not any(part in (b".", b"..") for part in plain.split(b"/")))
    try:
        plain.decode()
    except UnicodeDecodeError:
        raise NotHttpError from None


def response(stream: bytes, *, ended: bool, head_only: bool) -> Read:
    """The final answer at the beginning of a server's stream; interim ones are skipped. Raises NotHttpError, MoreError."""
    at = 0
    while True:
        at += len(stream) - at - len(stream[at:].lstrip(b"\r\n"))  # llhttp's one liberty: line breaks say nothing here
        line, fields, at = _head(stream, at)
        version, status, reason = (*line.split(" ", 2), "", "")[:3]
        protocol, _, version = version.partition("/")
        _demand(protocol in ("HTTP", "RTSP", "ICE") and version in ("1.1", "1.0", "0.9", "2.0"))  # all that llhttp takes for HTTP
        _demand(len(status) == 3 and status.isascii() and status.isdigit())
        if status[0] != "1":
            break
        _demand(status != "101")
    _demand("200" <= status <= "599")
    lengths, codings = _framing(fields)
    _demand(not codings or (version == "1.1" and not lengths))
    options = _options(fields)
    kept = "close" not in options and (version == "1.1" or "keep-alive" in options) and not head_only
    if head_only or status in ("204", "304"):
        body, end = b"", at
    elif codings:
        body, end = _chunked(stream, at)
    elif lengths:
        body, end = _sized(stream, at, lengths[0])
    elif ended:
        body, end, kept = stream[at:], len(stream), False
    else:
        raise MoreError
    return Read((version, status, reason), fields, body, end, kept)


def _head(stream: bytes, at: int) -> tuple[str, Fields, int]:
    """First line and fields of the head at `at`, and where it ends."""
    line, at = _line(stream, at)
    fields: Fields = []
    while True:
        field, at = _line(stream, at)
        if not field:
            return line.decode("latin-1"), fields, at
        name, colon, value = field.partition(b":")
        _demand(bool(colon) and bool(name) and TOKEN.issuperset(name) and VALUE.issuperset(value))
        fields.append((name.decode().lower(), value.strip(b" \t").decode("latin-1")))


def _line(stream: bytes, at: int) -> tuple[bytes, int]:
    end = stream.find(b"\r\n", at)
    line = stream[at:end] if end >= 0 else stream[at:]
    if end < 0:
        raise MoreError
    _demand(not any(bad in line for bad in (b"\r", b"\n")))
    return line, end + 2


def _three(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    _demand(len(parts) == 3 and bool(parts[0]) and TOKEN.issuperset(parts[0].encode("latin-1")))
    return parts[0], parts[1], parts[2]


def _framing(fields: Fields) -> tuple[list[int], list[str]]:
    """What Content-Length and Transfer-Encoding say; of each there is one at most."""
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
    _demand(len(lengths) <= 1 and codings in ([], ["chunked"]))
    _demand(all(value and DIGITS.issuperset(value.encode("latin-1")) for value in lengths))
    return [int(value) for value in lengths], codings


def _options(fields: Fields) -> set[str]:
    return {option.strip(" \t").lower() for name, value in fields if name == "connection" for option in value.split(",")}


def _sized(stream: bytes, at: int, length: int) -> tuple[bytes, int]:
    if len(stream) - at < length:
        raise MoreError
    return stream[at : at + length], at + length


def _chunked(stream: bytes, at: int) -> tuple[bytes, int]:
    body = b""
    while True:
        line, at = _line(stream, at)
        digits, semicolon, extension = line.partition(b";")
        digits = digits.rstrip(b" \t") if semicolon else digits
        _demand(bool(digits) and HEX.issuperset(digits) and VALUE.issuperset(extension))
        size = int(digits, 16)
        if not size:
            break
        part, at = _sized(stream, at, size)
        body += part
        if stream[at : at + 2] != b"\r\n":
            raise MoreError if b"\r\n".startswith(stream[at:]) else NotHttpError
        at += 2
    while True:
        line, at = _line(stream, at)
        if not line:
            return body, at
        name, colon, value = line.partition(b":")
        _demand(bool(colon) and bool(name) and TOKEN.issuperset(name) and VALUE.issuperset(value))


def _demand(holds: bool) -> None:
    if not holds:
        raise NotHttpError
