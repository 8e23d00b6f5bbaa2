"""The private line between the parent and one worker: the parent's questions, the worker's answers in the same order.

A message is one byte that says what it is, four bytes of length and that many bytes. Answers carry their question's byte.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

START = b"s"  # answered when the worker serves: with nothing, or with why it does not
METRICS = b"m"  # answered with the worker's exposition
POLICY = b"p"  # with a policy document: answered with the version in force then
KEYS = b"k"  # answered when the key files were read again
OPERATOR = b"o"  # with credentials: answered with the Clearance on them, both as JSON
HOLD = b"h"  # with what operators have drained, as JSON: answered when nothing new goes there
PURGE = b"c"  # with which kept answers to throw away, as JSON: answered when it is done
ENDPOINTS = b"e"  # answered with how every endpoint does, as JSON
SHADOWS = b"w"  # answered with what its shadows have seen, as JSON
ROLLOUTS = b"r"  # with how rollouts stand, as msgpack: answered with what was counted of them
PAGE = b"g"  # with a question to the store about what gateways share of rollouts: answered with the store's answer, as msgpack
AUDITS = b"a"  # with how audits stand, as msgpack: answered with what was seen of them
GATHER = b"x"  # answered with what clients told of their requests, and of which requests they may, as msgpack
END = b"d"  # answered when the worker begins to end in order
LEAVE = b"t"  # no question asks for it: somebody else has told the worker to end, and it asks to be replaced
LAST = b"l"  # nor for it: the exposition of a worker that ends
FETCHED = b"f"  # nor for it: an issuer's keys, for workers that start while the issuer is away; a Fetched as JSON

_HEAD = struct.Struct(">cI")
Answerer = Callable[[bytes], Awaitable[bytes]]


class Questions:
    """The parent's end. `last` is what the worker left behind when it ended in order; `leave` is set when it asks for that.

    `fetched` is given each key set that the worker tells of.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fetched: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._fetched = fetched
        self._open: deque[asyncio.Future[bytes]] = deque()
        self._over = False
        self.last = b""
        self.leave = asyncio.Event()

    def ask(self, kind: bytes, content: bytes = b"") -> asyncio.Future[bytes]:
        """The answer to come; ConnectionError if the worker ends before. Who gives up waiting just drops it."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self._over:
            _end(answer)
        else:
            self._open.append(answer)
            self._writer.write(_HEAD.pack(kind, len(content)) + content)
        return answer

    async def listen(self) -> None:
        """Hands out answers until the worker has ended and everything it said is read."""
        try:
            while True:
                kind, content = await _read(self._reader)
                if kind == LAST:
                    self.last = content
                elif kind == FETCHED:
                    self._fetched(content)
                elif kind == LEAVE:
                    self.leave.set()
                elif not (answer := self._open.popleft()).done():
                    answer.set_result(content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._over = True
            self._writer.close()
            for answer in self._open:
                if not answer.done():
                    _end(answer)


def _end(answer: asyncio.Future[bytes]) -> None:
    answer.set_exception(ConnectionResetError("the worker has ended"))
    answer.exception()  # nobody need be waiting for it


class Answers:
    """The worker's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def give(self, answers: Mapping[bytes, Answerer]) -> None:
        """Answers one question after the other, and returns when there is no parent any more."""
        try:
            while True:
                kind, content = await _read(self._reader)
                await self.tell(kind, await answers[kind](content))
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def tell(self, kind: bytes, content: bytes) -> None:
        """Sends a message. Raises ConnectionError without a parent."""
        self.say(kind, content)
        await self._writer.drain()

    def say(self, kind: bytes, content: bytes) -> None:
        """Sends a message, and does not wait until it is taken."""
        self._writer.write(_HEAD.pack(kind, len(content)) + content)


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return kind, await reader.readexactly(length)
