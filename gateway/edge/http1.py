"""One client connection: HTTP/1.1 in, one request at a time handed to the application, answers out in order.

The bytes of a request are looked at only when the one before is answered, so pipelining needs no queue: what has
arrived early stays one piece of unread bytes, bounded by pausing the socket. gateway/edge/phases.py has its course.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from time import monotonic
from typing import cast

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from gateway.edge import kernel, reply
from gateway.edge.absent import ASK_AGAIN, may_be_there
from gateway.edge.arriving import Arriving
from gateway.edge.errand import Errand
from gateway.edge.gate import Framing, RefusedError, early
from gateway.edge.head import LastHead
from gateway.edge.heads import Last
from gateway.edge.messages import COPIED, Admitted, Alike, HttpResponse, Later, Pending, RequestHead
from gateway.edge.phases import ANSWER, BODY, GONE, HEAD, LINGER
from gateway.edge.shared import LATE, LONGEST, Shared
from gateway.edge.taking import Taking

_NO_REQUEST = Framing(0, True, False, True)  # of a connection that has not had any yet; told from others by identity
_EMPTY_LINE = Framing(0, True, False, True)  # of one that has sent an empty line since its last; the same
_IN_A_ROW = 32  # heads that are read before everybody else has a turn: many an answer waits for nothing
_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One socket; `received` of its requests is the moment the edge turned to the first byte."""

    __slots__ = (
        "_advancing", "_alike", "_body", "_buffer", "_errand", "_framing", "_head", "_last", "_last_known", "_limits",
        "_peer", "_phase", "_reading", "_repeats", "_shared", "_since", "_stuffed", "_taking", "_thrown", "_transport",
    )  # fmt: skip

    def __init__(self, shared: Shared) -> None:
        self._shared, self._limits = shared, shared.limits
        self._transport: asyncio.Transport
        self._peer, self._phase, self._buffer = "", HEAD, b""
        self._since = 0.0  # when the phase (in HEAD: the idling, then the head; in BODY: the rate's window) began
        self._thrown = 0  # bytes, in LINGER
        self._head: RequestHead | None = None
        self._framing, self._last, self._taking = _NO_REQUEST, LastHead(), Taking()
        self._body: Arriving | None = None  # in BODY
        self._last_known: Last | None = None  # of the last request, if it need not be read
        self._alike: Alike | None = None  # may answer the request under way
        self._errand: Errand | Later | Pending | None = None
        self._reading, self._repeats = True, False  # the last request will be known again: so may be the next
        self._advancing = self._stuffed = False  # stuffed: the client does not take its answers

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._since = monotonic()
        try:
            refused = self._shared.come(self, self._peer)
        except ConnectionRefusedError:
            self._transport.abort()
        else:
            if refused is not None:
                self._refuse(refused)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stuffed or (self._body is not None and self._body.admitted is not None):
            self._shared.app.left("answer" if self._stuffed else "body")
        self._phase, self._buffer, self._body = GONE, b"", None
        if self._errand is None:
            self._shared.gone(self, self._peer)
        else:
            self._errand.cancel()

    def eof_received(self) -> bool:
        """The client sends no more: it has left, or only shut its side. True keeps ours open while it is owed an answer."""
        if self._phase == ANSWER or self._buffer or (self._body is not None and self._body.admitted is not None):
            self._ended(ASK_AGAIN)
            return True
        return False

    def _ended(self, pause: float) -> None:
        """Ends what a client that sends no more has begun; one that is owed an answer is looked after."""
        if self._phase >= LINGER:
            self._transport.close()
        elif self._phase == ANSWER or self._stuffed or self._advancing:
            if may_be_there(self._transport, pause, self._framing.modern):
                self._shared.loop.call_later(min(pause, 1.0), self._ended, 2 * pause)
        elif self._phase == BODY or self._buffer:
            self._refuse(RefusedError(400, "the request ended before it was whole", "incomplete"))
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._phase == LINGER:
            self._thrown += len(data)
            if self._thrown > self._limits.body:
                self._transport.close()
            return
        fresh = self._phase == HEAD and not self._buffer
        if fresh:
            self._since = monotonic()
            if not self._stuffed and self._at_once(data):
                return
        self._buffer += data
        if self._phase != ANSWER and not self._stuffed and not self._advancing:
            self._advance(fresh)
        elif len(self._buffer) > self._limits.pipelined and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._stuffed = True
        self._shared.backlog.add(self, self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stuffed = False
        self._go_on()

    # -- reading

    def _at_once(self, data: bytes) -> bool:
        """Whether these bytes are one whole request that need not be read, as somebody knows it or its head."""
        shared = self._shared
        if self._repeats and (answer := shared.repeat(data, self._peer)):
            if isinstance(answer, bytes):
                self._transport.write(answer)
            else:
                self._phase, self._errand = ANSWER, answer
                answer.begin(partial(self._known_late, data, self._since, answer))
            return True
        if (known := shared.heads.whole(data, self._last_known)) is None:
            return False
        block, self._framing, self._alike = known
        try:
            asked = self._ask((data if len(data) <= COPIED else memoryview(data))[len(block) :], self._since)
            self._last_known = known if asked else None
            return asked
        except Exception:  # noqa: BLE001 - whatever the application raises, the client gets an answer
            self._crash()
            return True

    def _go_on(self) -> None:
        if self._buffer and self._phase <= BODY and not self._advancing and not self._transport.is_closing():
            self._advance()

    def _advance(self, tried: bool = False) -> None:
        """Works through the unread bytes until they run out, a request is being answered or the client does not read.

        `tried`: they need to be read (_at_once).
        """
        self._advancing = True  # also while the rest waits for the loop's next turn
        turns = _IN_A_ROW
        while self._buffer and self._phase <= BODY and not self._stuffed:
            if not turns:
                self._shared.loop.call_soon(self._advance)
                return
            turns -= 1
            unread, self._buffer = self._buffer, b""
            try:
                if self._phase == BODY:
                    self._read_body(unread)
                elif not self._read_head(unread, tried):
                    break
            except RefusedError as refused:
                self._refuse(refused)
            except Exception:  # noqa: BLE001 - whatever the application raises, the client gets an answer
                self._crash()
            tried = False
        self._advancing = False
        if not self._reading and len(self._buffer) <= self._limits.pipelined and self._phase != GONE:
            self._reading = True
            self._transport.resume_reading()

    def _read_head(self, unread: bytes, tried: bool) -> bool:
        """False when more bytes must come first."""
        limits = self._limits
        if unread[:2] == b"\r\n" and self._framing is not _EMPTY_LINE:  # RFC 9112 section 2.2: one may stray before a request
            self._buffer, self._framing, self._repeats = unread[2:], _EMPTY_LINE, False  # what is not read sets no framing
            return True
        end = unread.find(b"\r\n\r\n", 0, limits.request_line + limits.headers + 8) + 4
        if end < 4:
            early(unread, limits.request_line, limits.headers)
            self._buffer = unread
            return False
        block = unread[:end]
        known = self._shared.heads.find(block)
        if known is None:
            self._alike, new = None, True
        else:
            self._framing, self._alike = known
            if not tried and self._framing.length == len(unread) - end and self._ask(unread[end:], self._since):
                return True
            new = not self._shared.heads.knows(block)
        self._head, self._framing = self._last.read(block, limits, self._peer, self._since, new)
        if self._framing.length > limits.body:
            raise RefusedError(413, f"the body is longer than {limits.body} bytes", "body")
        verdict = self._shared.app.admit(self._head)
        if isinstance(verdict, HttpResponse):
            self._refuse_early(verdict, unread[end:])
            return True
        length = self._framing.length
        if length == len(unread) - end:
            self._begin(verdict, unread[end:], unread)
        elif not length:
            self._buffer = unread[end:]
            self._begin(verdict, b"")
        else:
            self._collect(verdict, unread[end:])
        return True

    def _collect(self, admitted: Admitted | None, unread: bytes) -> None:
        """Turns to the body."""
        self._body = Arriving(self._framing.length, admitted, self._limits)
        self._phase, self._since, self._buffer = BODY, monotonic(), unread
        if admitted is not None and self._framing.expects and not unread:
            self._transport.write(reply.CONTINUE)

    def _read_body(self, unread: bytes) -> None:
        body = cast(Arriving, self._body)
        behind = body.take(unread)
        if behind is None:
            return
        self._body, self._buffer = None, behind
        if body.admitted is not None:
            self._begin(body.admitted, body.whole())
        elif self._shared.draining:
            self._linger()
        else:
            self._phase, self._since = HEAD, monotonic()

    # -- answering

    def _begin(self, admitted: Admitted, body: bytes, whole: bytes = b"") -> None:
        """Has it answered; `whole` is the request, if it came in one piece."""
        if self._alike is not None and not whole and self._ask(body, cast(RequestHead, self._head).received):
            return
        self._phase, self._repeats, self._alike = ANSWER, False, None
        answer = admitted(body)
        if isinstance(answer, HttpResponse):
            self._answer(answer)
            self._repeats = answer.again is not None and self._framing.plain and self._shared.know(whole, answer)
        else:
            self.work(answer, whole if len(whole) <= LONGEST else b"")

    async def _serve(self, answer: Awaitable[HttpResponse], whole: bytes) -> None:
        try:
            response = await answer
            self._answer(response)
            self._repeats = response.again is not None and self._framing.plain and self._shared.know(whole, response, LATE)
            if response.alike is not None:
                self._shared.heads.keep(self._last.block, self._framing, response.alike)
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception:  # noqa: BLE001 - whatever the application raises, the client gets an answer
            self._crash()

    def _ask(self, body: bytes | memoryview, received: float) -> bool:
        """Whether somebody is asked for an answer to whatever has such a head; see Asker for how that ends."""
        alike, self._alike = self._alike, None
        pending = alike.ask(body, received, self._peer, self) if alike is not None else None
        if pending is None:
            return False
        self._phase, self._repeats, self._errand = ANSWER, False, pending
        return True

    def answered(self, lines: str, body: bytes) -> None:
        """Implements Asker."""
        whole = None if self._shared.draining or self._phase == GONE else reply.whole(lines, body, self._shared.date)
        if whole is None:
            self._answer(HttpResponse(200, (), body, (), lines))
        else:  # nobody who is known frames a body in a way that ends the connection (Heads.keep)
            self._transport.write(whole)
            self._head, self._since, self._phase = None, monotonic(), HEAD
        self.ended()

    def work(self, answer: Awaitable[HttpResponse], whole: bytes = b"") -> None:
        """Implements Asker; `whole` is the request, if it came in one piece and is short."""
        self._errand = errand = Errand(self._shared.loop, self._serve(answer, whole), self.ended)
        errand.step()

    def _known_late(self, whole: bytes, received: float, later: Later) -> None:
        """What a request waited for that was not read: it is answered, or read after all."""
        if self._phase != GONE:
            self._phase, self._since = HEAD, monotonic()
            if answer := self._shared.late(whole, later):
                self._transport.write(answer)
            else:
                self._since, self._buffer = received, whole + self._buffer
        self.ended()

    def ended(self) -> None:
        """Implements Asker: nobody is at work any more."""
        self._errand = None
        if self._phase == GONE:
            self._shared.gone(self, self._peer)
        elif self._buffer:
            self._go_on()

    def _answer(self, response: HttpResponse, close: bool = False) -> None:
        """Writes one response whole, then waits for the next request or ends the connection."""
        if self._phase == GONE:
            return
        keep = self._framing.keep and not close and not self._shared.draining
        closing = ("" if self._framing.modern else reply.KEEP) if keep else reply.CLOSE
        pieces = reply.pieces(response, self._head.method if self._head is not None else "", self._shared.date + closing)
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._taking.begin()
            self._transport.writelines(pieces)
            self._shared.backlog.add(self, memoryview(pieces[1]).nbytes)
        self._head, self._since = None, monotonic()
        if keep:
            self._phase = HEAD
        else:
            self._linger()

    def _refuse_early(self, response: HttpResponse, unread: bytes) -> None:
        """Answers before the body; goes on only if the body is small, or its length unknown, and sure to come."""
        framing, most = self._framing, self._limits.unread
        self._answer(response, close=framing.length > most or framing.expects)
        if self._phase == HEAD and framing.length:
            self._collect(None, unread)
        elif self._phase == HEAD:
            self._buffer = unread

    def _refuse(self, refused: RefusedError) -> None:
        if self._body is not None and self._body.admitted is None:  # answered already
            self._linger()
            return
        response = self._shared.app.refuse(refused.error, refused.status, self._head)
        if refused.status == 426:
            response = replace(response, headers=(*response.headers, ("Upgrade", "HTTP/1.1")))
        self._answer(response, close=True)

    def _crash(self) -> None:
        _log.exception("the application raised where it must answer")
        error = InferenceError(ErrorKind.INTERNAL, "the gateway failed to answer; this is a defect of it, not of the request")
        self._answer(self._shared.app.refuse(error, 500, self._head), close=True)

    def _linger(self) -> None:
        self._phase, self._thrown, self._buffer, self._body = LINGER, len(self._buffer), b"", None
        if not self._transport.is_closing():
            self._transport.write_eof()
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()

    # -- what the listener calls

    def tick(self, now: float) -> None:
        """Ends what has lasted too long. The clock of a phase runs only while the client has taken all it was sent."""
        limits = self._limits
        if self._transport.get_write_buffer_size():
            if self._taking.stalls(kernel.balance(self._transport), now, limits):
                self._transport.abort()
            self._since = now
            return
        self._taking.begin()
        lasted = now - self._since
        if self._phase == HEAD and self._buffer:
            if lasted > limits.headers_timeout:
                self._refuse(RefusedError(408, f"the headers took longer than {limits.headers_timeout:g} s", "slow"))
        elif self._phase == HEAD:
            self._last_known = None  # who idles holds nothing; who does not looks it up once more
            if lasted > (limits.first_byte_timeout if self._framing is _NO_REQUEST else limits.idle_timeout):
                self._transport.close()
        elif self._body is not None and self._body.admitted is None:
            if lasted > limits.linger_timeout:
                self._linger()
        elif self._body is not None:
            if lasted >= limits.body_grace:
                self._since = now
                if self._body.slow(lasted):
                    self._refuse(RefusedError(408, f"the body came slower than {limits.body_rate} bytes per second", "slow"))
        elif self._phase == LINGER and lasted > limits.linger_timeout:
            self._transport.close()

    def retire(self) -> None:
        """Closes if nothing is under way; what is under way is finished and its answer says `Connection: close`."""
        if self._phase == LINGER or (self._phase == HEAD and not self._buffer and not kernel.unread(self._transport)):
            self._transport.close()

    def unsent(self) -> int:
        """Bytes of answers that wait in the process."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def abandon(self) -> None:
        """Ends at once; losing the socket cancels the errand, once, so that its cleaning up is not cancelled too."""
        self._transport.abort()
