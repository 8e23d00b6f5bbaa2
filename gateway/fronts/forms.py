"""What requests and answers that are alike have in common, so that only their tensors are looked at."""

from __future__ import annotations

from typing import NamedTuple

from backends.begun import Begun
from backends.protocols.v2_http import LENGTH_HEADER
from backends.protocols.v2_http_request import HttpQuestion, Inline, inline
from backends.protocols.v2_http_response import HttpAnswer, renamed, version_of
from gateway.edge.messages import COPIED

LONGEST = 1024  # bytes of JSON in front of tensors, of a question or an answer: there are as many of them as heads
SHORT = 16 * 1024  # bytes of a body in JSON, and of an answer, that are read, or looked through, in no time
_DATA = b'"data"'  # elements in the JSON: each has its own


class Begins(NamedTuple):
    """Bodies of `size` bytes that begin with the same JSON, and have their tensors behind it."""

    head: bytes
    size: int

    def tensors(self, body: bytes | memoryview) -> bytes | memoryview | None:
        """Their bytes; None where the body is another."""
        begin = len(self.head)
        if len(body) != self.size or body[:begin] != self.head:
            return None
        return (body if len(body) <= COPIED else memoryview(body))[begin:]


class ExpectedJson:
    """An answer in JSON by one version of a model, of at most `most` bytes, that is passed on under its public name."""

    __slots__ = ("_model", "_most", "_version", "lines")

    def __init__(self, model: str, version: str, most: int, lines: str) -> None:
        self._model, self._version, self._most, self.lines = model, version, most, lines

    def body(self, begun: Begun) -> bytes | None:
        """As Expected."""
        answer = begun.answer
        if answer is None or answer.status != 200 or LENGTH_HEADER in answer.headers or len(answer.body) > self._most:
            return None
        if version_of(answer.body) != self._version:
            return None
        body = renamed(answer.body, self._model)  # whose name may be longer
        return body if len(body) <= self._most else None


class Expected:
    """The form of an answer: all of it but its tensors. `lines`: its headers, but for those that are each answer's own."""

    __slots__ = ("_front", "_head", "_length", "_size", "lines")

    def __init__(self, head: bytes, size: int, front: bytes, lines: str) -> None:
        """`head` is its JSON as it came, `size` the bytes of all of it; `front` is the JSON as it is passed on."""
        self._head, self._length, self._size = head, str(len(head)), size
        self._front = b"" if front == head else front
        self.lines = lines

    def body(self, begun: Begun) -> bytes | None:
        """What the client is sent; None where the answer has another form, or there is none."""
        answer = begun.answer
        if answer is None or answer.status != 200 or len(answer.body) != self._size:
            return None
        if answer.headers.get(LENGTH_HEADER) != self._length or not answer.body.startswith(self._head):
            return None
        if not self._front:
            return answer.body
        return self._front + (answer.body if len(answer.body) <= COPIED else memoryview(answer.body))[len(self._head) :]


def form_of(body: bytes, length: str | None, question: object) -> Begins | Inline | None:
    """The form of a body that was read as this question; `length` is its Inference-Header-Content-Length. None: it has none."""
    if length is None:
        found = inline(body, question, SHORT) if isinstance(question, HttpQuestion) else None
        return found if found is not None and len(found.left) <= LONGEST else None
    head = body[: int(length)]
    return Begins(head, len(body)) if len(head) <= LONGEST and _DATA not in head else None


def expected(
    answer: HttpAnswer, written: bytes | memoryview, model: str, most: int, lines: str
) -> Expected | ExpectedJson | None:
    """The form of an answer that was passed on as `written`, under that public name of its model and these header lines.

    Of JSON at most so many bytes are, no more than SHORT. None: each has to be read.
    """
    if not answer.verbatim:
        return None
    if answer.head is None:
        version = version_of(answer.whole)
        return None if version is None else ExpectedJson(model, version, most, lines)
    head = answer.whole[: answer.head]
    front = bytes(written[: len(written) - len(answer.whole) + answer.head])
    return Expected(head, len(answer.whole), front, lines) if len(head) <= LONGEST and _DATA not in head else None
