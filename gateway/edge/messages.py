"""What the edge hands on and takes back: one frozen request head, a body of bytes, one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from backends.errors import InferenceError

COPIED = 16 * 1024  # bytes up to which a copy of a part is made sooner than a view, which keeps all of them alive


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """A request whose framing, path, host and headers have passed the gate.

    `path` is the origin-form path exactly as received, without the query; `headers` has lower-case names, and a repeated
    name's values joined by ", " (those that must not repeat were refused). `received` is the loop's monotonic time of the
    request's first byte, in seconds.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    peer: str
    received: float
    again: bool = False  # the connection's last head was the same to the byte, and nobody knows it yet


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """Status, headers without framing (the edge adds Content-Length and Connection), body.

    `fixed` are more headers, apart because they repeat from response to response: written out once and remembered.
    `lines`, where there are any, are all headers in their place, written out already by `reply.lines`.
    `again` answers the very same bytes, whichever connection they come from next; see Again. `alike` answers requests with the
    very same head.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | memoryview = b""
    fixed: tuple[tuple[str, str], ...] = ()
    lines: str = ""
    again: Again | None = None
    alike: Alike | None = None


class Asker(Protocol):
    """Who is told what became of a request that is Pending; one of these, once, and never before `ask` has returned."""

    def answered(self, lines: str, body: bytes) -> None:
        """A good answer, with these headers as `reply.lines` writes them."""
        ...

    def work(self, answer: Awaitable[HttpResponse]) -> None:
        """It takes some more."""
        ...

    def ended(self) -> None:
        """It was cancelled, and holds nothing any more."""
        ...


class Pending(Protocol):
    """A request that waits for somebody, without a coroutine."""

    def cancel(self) -> None:
        """The client has left."""
        ...


class Alike(Protocol):
    """Answers requests whose head is, byte for byte, that of one which was answered before. Never answers at once.

    `sized`: their bodies must be as long, too; else all but the head's Content-Length is the same.
    """

    sized: bool

    def ask(self, body: bytes | memoryview, received: float, peer: str, asker: Asker) -> Pending | None:
        """None: nothing has been done, and the request is to be taken like any other."""
        ...

    def current(self) -> bool:
        """Whether it may ever ask again."""
        ...


class Later(Protocol):
    """The answer to one request that came again, for which somebody else must be asked whether it still is the answer."""

    def begin(self, known: Callable[[], None]) -> None:
        """Asks; `known` is called once: when the asked one has said something or will not, at once if it was cancelled."""
        ...

    def answer(self, date: bytes) -> bytes | None:
        """Once that is known, as Again: the whole answer, or None."""
        ...

    def cancel(self) -> None:
        """The client has left, and nothing is answered."""
        ...


Again = Callable[[str, float, bytes], bytes | Later | None]
"""Told the peer and when a request came that was answered before, byte for byte, and the line of the date: the whole answer, in
the form of `reply.parts`; None: nothing has been done, and the request is to be taken like any other. Never raises."""


class Admitted(Protocol):
    """The rest of a request's life once its body is whole: a response at once, or work. Cancelled when the client leaves."""

    def __call__(self, body: bytes) -> HttpResponse | Awaitable[HttpResponse]: ...


class Application(Protocol):
    """Who answers. Its methods are synchronous and never raise; what `admit` returns is awaited in one task per request."""

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        """Called when the headers are complete, before the body: a response here refuses early."""
        ...

    def refuse(self, error: InferenceError, code: int, head: RequestHead | None) -> HttpResponse:
        """The edge's own refusal (bad framing, limits, clocks) in the words of the dialect; `head` when it is known."""
        ...

    def left(self, stage: str) -> None:
        """A client left in the middle of its `body`, or of its `answer`; who leaves in between cancels what was admitted."""
        ...
