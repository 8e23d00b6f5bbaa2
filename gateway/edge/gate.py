"""What a request must look like before anything else sees it: pure checks over its first line and its headers.

The rules are RFC 9112's and RFC 9110's, taken strictly: where those let a recipient repair or guess, the request is
refused, because two parties that repair differently are how requests are smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from backends.errors import ErrorKind, InferenceError

KINDS = {
    400: ErrorKind.INVALID,
    408: ErrorKind.SLOW,
    413: ErrorKind.TOO_LARGE,
    414: ErrorKind.TOO_LARGE,
    417: ErrorKind.UNSUPPORTED,
    426: ErrorKind.UNSUPPORTED,
    429: ErrorKind.LIMITED,
    431: ErrorKind.TOO_LARGE,
    500: ErrorKind.INTERNAL,
    501: ErrorKind.UNSUPPORTED,
    503: ErrorKind.OVERLOADED,
    505: ErrorKind.UNSUPPORTED,
}

METHODS = {name.encode(): name for name in ("POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")}

SINGLE = frozenset(
    {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "transfer-encoding",
        "x-api-key",
        "x-request-timeout-ms",
        "x-envoy-expected-rq-timeout-ms",
    }
)
"""Headers of which one more would leave open which of them counts."""

CHUNKED = -1

# Segments are never empty (no "//") except after a last "/", never "." or ".." however written; ";" (parameters that
# some servers cut off) and "\" are outside; an escape may hide neither "/", "\", ";" nor a control byte.
# Every byte has one place only, so a refusal is found in one go without possessive quantifiers (*+), which let through what they
# must not before Python 3.11.5 (python/cpython issues 100061 and 106052); Debian 12 has 3.11.2.
_SEGMENT = rb"(?!(?:\.|%2[eE]){1,2}(?:/|\Z))(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%(?!2[fF]|5[cC]|3[bB]|[01]|7[fF])[0-9A-Fa-f]{2})+"
_PATH = re.compile(rb"(?:/" + _SEGMENT + rb")*/?")
_QUERY = re.compile(rb"[\x21\x22\x24-\x5b\x5d-\x7e]*")
_HOST = re.compile(r"(?:(?:[A-Za-z0-9_-]{1,63}(?:\.|(?=:|\Z)))+|\[(?P<v6>[0-9A-Fa-f:.]{2,45})\])(?::[0-9]{1,5})?", re.ASCII)
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_KEEPING = frozenset({"close", "keep-alive", ""})
_PREFACE = b"PRI * HTTP/2.0"


class RefusedError(Exception):
    """The edge itself answers this request: HTTP `status`, and the `error` in the client's words."""

    def __init__(self, status: int, message: str, reason: str, source: str = "client") -> None:
        super().__init__(message)
        self.status = status
        self.error = InferenceError(KINDS[status], message, source=source, reason=reason)


class RequestLine(NamedTuple):
    """`path` is what was received, byte for byte; `query` comes without its "?"; `modern` is HTTP/1.1.

    `authority` stands in the absolute form only; whoever takes that form compares it with Host.
    """

    method: str
    path: str
    query: str
    modern: bool
    authority: str = ""


class Framing(NamedTuple):
    """`length` of the body in bytes or CHUNKED; `keep`: the connection may carry another request."""

    length: int
    keep: bool
    expects: bool  # the client waits for 100 (Continue) before it sends the body
    modern: bool  # HTTP/1.1, not 1.0

    @property
    def plain(self) -> bool:
        """Whether its answer needs nothing said of the connection."""
        return self.keep and self.modern


def request_line(line: bytes) -> RequestLine:
    """One request line without its CRLF; raises RefusedError with 400, 426, 501 or 505."""
    return _known_line(line) if len(line) <= 256 else _read_line(line)


def _read_line(line: bytes) -> RequestLine:
    if line == _PREFACE:
        raise RefusedError(426, "this port speaks HTTP/1.1, not HTTP/2", "upgrade")
    parts = line.split(b" ")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]):
        raise RefusedError(400, "the request line must be: method, path, HTTP/1.1", "request-line")
    name, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RefusedError(505, "this port speaks HTTP/1.1 and HTTP/1.0", "version")
    method = METHODS.get(name)
    if method is None:
        raise RefusedError(501, "this method is not implemented", "method")
    authority = b""
    if target[:7].lower() == b"http://":  # RFC 9112 section 3.2.2: to be accepted, though only proxies are sent it
        authority, slash, rest = target[7:].partition(b"/")
        target = slash + rest if authority else b""
    path, mark, query = target.partition(b"?")
    if not path or not _PATH.fullmatch(path) or not _is_text(path):
        raise RefusedError(
            400, "the path must start with / and be UTF-8 without dot segment, //, ;, backslash or escape that hides one", "path"
        )
    if mark and not _QUERY.fullmatch(query):
        raise RefusedError(400, "the query holds a character that must be percent-encoded", "path")
    modern = version == b"HTTP/1.1"
    return RequestLine(method, path.decode("ascii"), query.decode("ascii"), modern, authority.decode("latin-1"))


def _is_text(path: bytes) -> bool:
    """Whether what is escaped is UTF-8; an overlong form is not, and would be another way to write a / or a dot."""
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return True


_known_line = lru_cache(1024)(_read_line)  # a client repeats its lines; short ones only, so the most it holds is small


def early(block: bytes, request_line_limit: int, headers_limit: int) -> None:
    """Refuses the beginning of a head that no further bytes could make good: 400, 414 or 431."""
    if not block[:1].isalpha() and block != b"\r":
        raise RefusedError(400, "a request starts with its method", "request-line")
    line = block.find(b"\r\n", 0, request_line_limit + 2)
    if line < 0 and len(block) >= request_line_limit + 2:
        raise RefusedError(414, f"the request line is longer than {request_line_limit} bytes", "request-line")
    if line > 0:
        request_line(block[:line])  # HTTP/0.9 ends here, and would wait for an answer
        if len(block) - line > headers_limit + 4:
            raise RefusedError(431, f"the headers are longer than {headers_limit} bytes", "headers")
    if block.count(b"\n") != block.count(b"\r\n"):
        raise RefusedError(400, "lines end with CR LF, never with LF alone", "framing")


def framing(headers: Mapping[str, str], repeated: Collection[str], modern: bool) -> Framing:
    """How long the body is and what becomes of the connection; raises RefusedError with 400, 417, 426 or 501."""
    for name in repeated:
        if name in SINGLE:
            raise RefusedError(400, f"the header {name} must not be repeated", "header")
    host = headers.get("host")
    if host is None:
        if modern:
            raise RefusedError(400, "HTTP/1.1 needs exactly one Host header", "host")
    elif len(host) > 261 or not _valid_host(host):  # 253, colon and port; longer ones shall not fill the cache
        raise RefusedError(400, "the Host header is not a host name or address with an optional port", "host")
    if "upgrade" in headers or "http2-settings" in headers:
        raise RefusedError(426, "this port speaks HTTP/1.1 and upgrades to nothing", "upgrade")
    expect = headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise RefusedError(417, "the only expectation this port knows is 100-continue", "header")
    return Framing(_length(headers, modern), _keep(headers, modern), modern and expect is not None, modern)


@lru_cache(1024)
def _valid_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None or not match["v6"]:
        return match is not None
    try:
        IPv6Address(match["v6"])
    except AddressValueError:
        return False
    return True


def nominated(connection: str) -> list[str]:
    """What the Connection header says to be for this hop alone (RFC 9110 section 7.6.1); raises RefusedError.

    What decides who asks, or where a body ends, can be taken away by nobody on the way.
    """
    names = [token for token in map(str.strip, connection.lower().split(",")) if token not in _KEEPING]
    for name in names:
        if name in SINGLE:
            raise RefusedError(400, f"the Connection header must not name {name}", "header")
    return names


def _length(headers: Mapping[str, str], modern: bool) -> int:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise RefusedError(400, "Transfer-Encoding and Content-Length must not come together", "framing")
        if not modern:
            raise RefusedError(400, "HTTP/1.0 has no Transfer-Encoding", "framing")
        if coding.lower() != "chunked":
            raise RefusedError(501, "the only transfer coding this port knows is chunked", "framing")
        return CHUNKED
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise RefusedError(400, "Content-Length must be a decimal number of bytes", "framing")
    return int(length)


def _keep(headers: Mapping[str, str], modern: bool) -> bool:
    connection = headers.get("connection")
    if connection is None:
        return modern
    tokens = {token.strip() for token in connection.lower().split(",")}
    return "close" not in tokens if modern else "keep-alive" in tokens and "close" not in tokens
