"""From the bytes of one request's head to a RequestHead: llhttp reads the fields, the gate judges what they say."""

from __future__ import annotations

import re

import httptools
from msgspec.structs import replace

from gateway.edge.gate import Framing, RefusedError, framing, nominated, request_line
from gateway.edge.limits import Limits
from gateway.edge.messages import RequestHead

KNOWN = 1024  # bytes of a head that is kept for the next request on its connection
_REMEMBERED = 1024
_SIZE = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d{1,15})\r\n")
_names: dict[bytes, str] = {}


class _Fields:
    """What llhttp calls back, once per field line; it has checked name and value bytes already (RFC 9110 section 5)."""

    __slots__ = ("count", "headers", "repeated")

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.repeated: list[str] = []
        self.count = 0

    def on_header(self, raw: bytes, value: bytes) -> None:
        name = _names.get(raw)
        if name is None:
            name = raw.decode("ascii").lower()
            if len(_names) < _REMEMBERED and len(raw) <= 64:
                _names[raw] = name
        self.count += 1
        headers = self.headers
        text = value.decode("latin-1")
        if text[-1:] in _BLANK:  # llhttp keeps trailing white space; "" is in it too, and stays ""
            text = text.rstrip(_BLANK)
        if name in headers:
            self.repeated.append(name)
            text = f"{headers[name]}, {text}"
        headers[name] = text


_BLANK = " \t"


def read_head(block: bytes, limits: Limits, peer: str, received: float) -> tuple[RequestHead, Framing]:
    """Reads one whole head, its closing empty line included; raises RefusedError.

    llhttp sees the head alone and each time with a new parser: where a request ends is decided in one place (the
    connection), so nothing in a body can ever be taken for a head.
    """
    end = block.find(b"\r\n")
    if end > limits.request_line:
        raise RefusedError(414, f"the request line is longer than {limits.request_line} bytes", "request-line")
    if len(block) - end - 4 > limits.headers:
        raise RefusedError(431, f"the headers are longer than {limits.headers} bytes", "headers")
    line = request_line(block[:end])
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(block)
    except httptools.HttpParserUpgrade:
        pass  # the gate refuses it in its own words
    except httptools.HttpParserError as error:
        raise _malformed(fields.headers) from error
    if fields.count > limits.header_count:
        raise RefusedError(431, f"there are more than {limits.header_count} headers", "header-count")
    headers = fields.headers
    frame = framing(headers, fields.repeated, line.modern)
    if line.authority and line.authority.lower() != headers.get("host", "").lower():
        raise RefusedError(400, "the request's target names another host than its Host header", "host")
    connection = headers.get("connection")
    if connection is not None:
        for name in nominated(connection):
            headers.pop(name, None)
    return RequestHead(line.method, line.path, line.query, headers, peer, received), frame


def unsized(block: bytes) -> tuple[bytes, int] | None:
    """A head without the number that its Content-Length is, and that; None where it has none that is plainly written.

    One that has two of them still has one.
    """
    found = _SIZE.search(block)
    return None if found is None else (block[: found.start(1)] + block[found.end(1) :], int(found[1]))


class LastHead:
    """Of one connection: a client that repeats its head byte for byte is not read again."""

    __slots__ = ("_framing", "_head", "_unsized", "block")

    def __init__(self) -> None:
        self.block = b""
        self._unsized: tuple[bytes, int] | None = None
        self._head: RequestHead
        self._framing: Framing

    def read(self, block: bytes, limits: Limits, peer: str, received: float, new: bool) -> tuple[RequestHead, Framing]:
        """As read_head, of a connection whose limits and peer stay; `new`: nobody knows it."""
        if block == self.block:
            head = self._head
            return RequestHead(head.method, head.path, head.query, head.headers, peer, received, new), self._framing
        head, frame = read_head(block, limits, peer, received)
        if len(block) <= KNOWN:
            last, self._unsized = self._unsized, unsized(block)
            self.block, self._head, self._framing = block, head, frame
            if new and last is not None and self._unsized is not None and last[0] == self._unsized[0]:
                return replace(head, again=True), frame
        return head, frame


def _malformed(headers: dict[str, str]) -> RefusedError:
    if headers.get("transfer-encoding", "chunked") != "chunked":
        return RefusedError(501, "the only transfer coding this port knows is chunked", "framing")
    return RefusedError(400, "a header is malformed or says two things about the body's length", "framing")
