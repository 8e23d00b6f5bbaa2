"""Remembers questions that were answered from the cache: read once, and their answer written once, however often they come.

What is remembered says nothing of who may ask, what is planned, or what is kept: all of that is found out anew each time, or is
what it was because nothing that decides it has changed (shortcut.py). A body is the same only byte for byte, of the same
principal, for the same model; an answer is written already only if the cache gives the very object that it was written from.
Anything else takes the long way.
"""

from __future__ import annotations

from msgspec.structs import replace

from backends.inference import InferenceRequest, InferenceResponse
from backends.protocols.v2_http_request import HttpQuestion
from gateway.edge.messages import Again
from gateway.fronts.shortcut import Shortcut
from routing.principal import Principal

LONGEST = 16 * 1024  # bytes of a body, or of an answer; beyond, finding it costs as much as reading it
ROOM = 4 * 1024 * 1024  # bytes of all of them, about
_OVERHEAD = 2000  # bytes of one beside its body and its answer
_ROW = 1000  # and for each row that the cache keeps on its own, which must not go while this is here

Place = tuple[str, str, str, str | None, bytes]
Written = tuple[bytes | memoryview, tuple[tuple[str, str], ...]]
"""An answer's body, and the headers that describe it."""


def place(principal: Principal, model: str, length: str | None, body: bytes) -> Place:
    """Equal for the same question; `model` is the client's name for it, `length` its Inference-Header-Content-Length header."""
    return (principal.tenant, principal.subject, model, length, body)


class Repeat:
    """A question, read, and what its answer was last written from. `verbatim` leads to the shortcut, which must not lead
    back: nobody collects it as garbage."""

    __slots__ = ("request", "response", "shortcut", "verbatim", "written")

    def __init__(self, request: InferenceRequest) -> None:
        self.request = request
        self.response: InferenceResponse | None = None
        self.shortcut: Shortcut | None = None
        self.verbatim: Again | None = None
        self.written: Written = (b"", ())

    def again(self, version: str, headers: tuple[tuple[str, str], ...]) -> InferenceRequest:
        """The question as it comes now."""
        known = self.request
        return InferenceRequest(
            known.model, version, known.id, known.parameters, known.inputs, known.outputs, known.payload, headers
        )


class Repeats:
    """At most `room` bytes; when there are more it forgets all: what still comes is soon back."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._taken = 0
        self._known: dict[str, dict[Place, Repeat]] = {}  # by model

    def find(self, at: Place) -> Repeat | None:
        """Costs models nothing of which no answer came from the cache: to look, a body is hashed."""
        known = self._known.get(at[2])
        return known.get(at) if known is not None and len(at[-1]) <= LONGEST else None

    def keep(self, at: Place, request: InferenceRequest, rows: int) -> Repeat | None:
        """Finds it from now on, if it is short; `rows` of it are kept one by one."""
        if len(at[-1]) > LONGEST or not isinstance(request.payload, HttpQuestion):
            return None
        self._take(len(at[-1]) + _OVERHEAD + _ROW * rows)
        request.payload.derived = {}
        repeat = Repeat(replace(request, version="", headers=()))
        self._known.setdefault(at[2], {})[at] = repeat
        return repeat

    def write(self, repeat: Repeat, response: InferenceResponse, written: Written) -> None:
        """This is what is written for it, as long as the response is this object."""
        if len(written[0]) <= LONGEST:
            self._take(len(written[0]) - len(repeat.written[0]))
            repeat.response, repeat.written = response, written

    def settle(self, repeat: Repeat, shortcut: Shortcut) -> None:
        """This is the answer to it, for as long as it says so itself."""
        if len(shortcut.body) <= LONGEST:
            self._take(shortcut.size - (repeat.shortcut.size if repeat.shortcut is not None else 0))
            repeat.shortcut, repeat.verbatim = shortcut, None

    def _take(self, size: int) -> None:
        self._taken += size
        if self._taken > self._room:
            self._known.clear()
            self._taken = max(0, size)
