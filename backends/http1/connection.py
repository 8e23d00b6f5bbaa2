"""One HTTP/1.1 connection to a backend: writes a request, reads exactly one answer, and says whether it may be used again.

It is idle, asked or spent. Only `send` makes it asked, only a whole answer that leaves nothing behind makes it idle again;
everything else (bytes nobody asked for, a cut or malformed answer, a deadline, a caller who left) makes it spent, for ever.
One exception is llhttp's: line breaks right after an answer, in the same read, are skipped; they cannot become an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import NoReturn, Protocol, cast

from httptools import HttpParserError, HttpResponseParser

from backends.errors import ErrorKind, InferenceError
from backends.http1.messages import PoolLimits, UpstreamResponse, late

_CUT = "closed the connection before its answer was complete"
_REMEMBERED, _SHORT = 1024, 64  # header names kept, and how long one may be
_names: dict[bytes, str] = {}  # header names as backends write them, in lower case
_HEADERS_TOO_LARGE = "sent more header bytes than allowed"
_LARGE = 1024 * 1024  # bytes of an announced body that is gathered in one place, lest it be held twice when it is whole
_REPEATED, _HEAD = 1024, 1024  # heads of answers kept for one endpoint, and how long one may be

Head = tuple[bytes, int, int, Mapping[str, str]]
"""That of a whole answer: its bytes, the length of the body, status, headers."""
Known = dict[bytes, Head]
"""Those that were read before, by their bytes. For one pool's limits."""
_NONE: Head = (b"\0", -9, 0, {})  # no answer begins with it, as each would with b"", or is as long


class Promised(Protocol):
    """Who is told the answer; a backends.promise.Promise is one."""

    def done(self) -> bool:
        """Whether nobody waits for it any more."""
        ...

    def set_result(self, value: UpstreamResponse, /) -> None:
        """It is whole."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """There will be none."""
        ...


class _RefusedError(Exception):
    """Raised inside the parser's callbacks for an answer we do not accept; the text completes "backend 'x' …"."""


class Connection(asyncio.Protocol):
    """The protocol of one connection. `idle_ended` is told when the connection ends while nobody is asking.

    `reusable`: idle and sound. `touched`: bytes came back since the last `send`.
    """

    __slots__ = (
        "_answer", "_chunked", "_gathered", "_head_only", "_headers", "_idle_ended", "_keep", "_known", "_last", "_limits",
        "_parser", "_pieces", "_quiet", "_size", "_source", "_status", "_transport", "_until_eof", "_whole", "idle_since",
        "reusable", "touched",
    )  # fmt: skip

    def __init__(self, limits: PoolLimits, source: str, known: Known, idle_ended: Callable[[Connection], None]) -> None:
        self._limits = limits
        self._source = source
        self._known = known
        self._chunked = self._until_eof = self._keep = False
        self._pieces: list[bytes] = []
        self._gathered: BytesIO | None = None  # a body that is large, or of unknown length, instead of its pieces
        self._last: Head = _NONE  # of the last answer that was known: the next one's is the same, more often than not
        self._idle_ended = idle_ended
        self._transport: asyncio.Transport | None = None
        self._answer: Promised | None = None
        self._whole: UpstreamResponse | None = None  # complete, but the bytes it came with are not all looked at
        self.reusable = False
        self.touched = False
        self.idle_since = 0.0  # seconds, the loop's clock

    @property
    def writable(self) -> bool:
        """Whether a request sent now is written, and its answer waited for."""
        return self.reusable and self._transport is not None and not self._transport.is_closing()

    def send(self, pieces: list[bytes | memoryview], answer: Promised, *, head_only: bool) -> None:
        """Writes one request; `answer` gets the response or an InferenceError (BROKEN).

        `head_only`: the request is a HEAD, whose answer announces a body and has none.
        """
        self.reusable = self.touched = False
        self._answer = answer
        self._head_only = head_only
        transport = self._transport
        if transport is None or transport.is_closing():
            self._end("closed the connection")
        elif len(pieces) == 1:
            transport.write(pieces[0])
        else:
            transport.writelines(pieces)  # no flow control: the body is in memory already, whoever holds it

    def expire(self) -> None:
        """The deadline passed: the answer fails with DEADLINE and the connection is spent."""
        answer = self._answer
        if answer is None:
            return
        self.abort()
        if not answer.done():
            answer.set_exception(late(self._source))

    def abort(self) -> None:
        """Ends the connection now and drops unsent bytes; `close` would send them all to a backend nobody waits for.

        What was read goes, too: an error's traceback may hold the connection until the collector comes.
        """
        self.reusable = False
        self._answer = self._whole = self._gathered = None
        self._pieces = []
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = HttpResponseParser(self)
        self.reusable = True

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._end("sent bytes nobody asked for")
        elif self.touched:
            self._read(data)
            self._deliver()
        else:
            self.touched = True
            end = len(self._last[0])
            if not data.startswith(self._last[0]):
                end = data.find(b"\r\n\r\n", 0, _HEAD) + 4
                self._last = self._known.get(data[:end], _NONE)
            _, length, status, headers = self._last
            if length == len(data) - end and not self._head_only:
                self._whole, self._keep = UpstreamResponse(status, headers, data[end:]), True
            else:
                self._read_first(data, end)
            self._deliver()

    def _read_first(self, data: bytes, end: int) -> None:
        """An answer's first bytes; if they are all of it, its head, which ends at `end`, is kept for the next like it."""
        self._chunked = self._until_eof = self._keep = False
        self._pieces, self._gathered = [], None
        self._size = self._quiet = self._status = 0  # _quiet: bytes read since the last piece of a body
        self._read(data)
        whole = self._whole
        if whole is not None and self._keep and not self._chunked and end > 3 and end + len(whole.body) == len(data):
            if len(self._known) >= _REPEATED:
                self._known.clear()
            head = data[:end]
            self._known[head] = head, len(whole.body), whole.status, whole.headers

    def _read(self, data: bytes) -> None:
        """Feeds the parser. What comes behind a whole answer spoils the connection, not the answer."""
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._keep = False
            if self._whole is None:
                why = error.__context__
                self._end(str(why) if isinstance(why, _RefusedError) else "sent a malformed answer", error)
        else:
            if self._quiet > self._limits.max_headers and self._whole is None:
                self._end(_HEADERS_TOO_LARGE)

    def eof_received(self) -> None:
        if self._answer is not None and self._until_eof:
            self._finish(keep_alive=False)
            self._deliver()
        else:
            self._end(_CUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(_CUT, exc)
        self._transport = None
        del self._parser  # it holds our bound methods: a cycle

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._whole is not None:
            raise _RefusedError("sent more than one answer")
        self._headers: dict[str, str] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._chunked:
            return  # a trailer: nothing we carry is allowed there
        key = _names.get(name)
        if key is None:
            key = name.decode("latin-1").lower()
            if len(_names) < _REMEMBERED and len(name) <= _SHORT:
                _names[name] = key
        text = value.decode("latin-1")
        if text[-1:] in " \t":  # llhttp keeps trailing blanks; "" is in it, too, and stays ""
            text = text.rstrip(" \t")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._status = status = parser.get_status_code()
        if not 200 <= status <= 599:
            if not 100 <= status < 200 or status == 101:
                raise _RefusedError("answered with a status we cannot carry")
            return
        if parser.get_http_version() not in ("1.1", "1.0"):
            raise _RefusedError("answered in a version of HTTP that it was not asked in")
        headers, limits = self._headers, self._limits
        if self._quiet > limits.max_headers and sum(map(len, headers)) + sum(map(len, headers.values())) > limits.max_headers:
            raise _RefusedError(_HEADERS_TOO_LARGE)
        if "transfer-encoding" in headers:
            # RFC 9112 section 6.1: another coding than chunked was not asked for, and in HTTP/1.0 it is faulty framing
            if headers["transfer-encoding"].lower() != "chunked" or parser.get_http_version() != "1.1":
                raise _RefusedError("framed its answer in a way we do not read")
            self._chunked = True
            self._gathered = BytesIO()  # chunks may be of one byte each: a list of them would take 40 times their size
        elif "content-length" not in headers:
            self._until_eof = True  # a 204 or 304 is complete before the next callback
            self._gathered = BytesIO()
        elif (length := int(headers["content-length"])) > _LARGE or length > limits.max_body:
            if length > limits.max_body:
                self._too_large()
            self._gathered = BytesIO()
        if self._head_only:
            self._finish(keep_alive=False)
            raise _RefusedError("")  # llhttp waits for the announced body and cannot be told otherwise

    def on_body(self, piece: bytes) -> None:
        self._quiet = 0
        self._size += len(piece)
        if self._size > self._limits.max_body:
            self._too_large()
        gathered = self._gathered
        if gathered is None:
            self._pieces.append(piece)
        else:
            gathered.write(piece)

    def on_message_complete(self) -> None:
        if self._status >= 200:  # else an interim answer: the real one follows (RFC 9110 section 15.2)
            self._finish(keep_alive=self._parser.should_keep_alive())

    # endings

    def _too_large(self) -> NoReturn:
        raise _RefusedError(f"sent an answer of more than {self._limits.max_body} bytes (limits.answer)")

    def _finish(self, *, keep_alive: bool) -> None:
        """The answer is whole."""
        gathered = self._gathered
        body = b"".join(self._pieces) if gathered is None else gathered.getvalue()
        self._whole, self._keep = UpstreamResponse(self._status, self._headers, body), keep_alive
        self._headers, self._pieces, self._gathered = {}, [], None
        self._until_eof = False

    def _deliver(self) -> None:
        """Hands out a whole answer. One that came before the request was sent, or for somebody who left, ends the connection."""
        whole, answer, transport = self._whole, self._answer, self._transport
        if whole is None or answer is None or transport is None:
            return
        self._whole = self._answer = None
        left = answer.done()
        if self._keep and not left and not transport.get_write_buffer_size():
            self.reusable = True
        else:
            self.abort()
        if not left:
            answer.set_result(whole)  # at last: whoever waits runs now, and may send the next request

    def _end(self, what: str, cause: Exception | None = None) -> None:
        """The connection is spent; whoever waits for an answer hears why, else the pool hears that an idle one ended."""
        answer = self._answer
        if answer is None and self.reusable:
            self._idle_ended(self)
        self.abort()
        if answer is not None and not answer.done():
            error = InferenceError(ErrorKind.BROKEN, f"backend '{self._source}' {what}", source=self._source)
            error.__cause__ = cause
            answer.set_exception(error)
