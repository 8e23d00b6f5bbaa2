"""The gateway's own gate and nothing behind it: reads each request as the gateway does, and answers all with the same bytes.

What a cache can at best come near to: `python -m loadtest.gate PORT ANSWER.json` is what loadtest.cache measures hits against.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from backends.errors import InferenceError
from gateway.edge.limits import Limits
from gateway.edge.listener import listen
from gateway.edge.messages import Admitted, HttpResponse, RequestHead
from gateway.serve import settle


class Given(msgspec.Struct, frozen=True):
    """The answer; the body's bytes stand in JSON as base64."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


class Constant:
    """Implements gateway.edge.messages.Application."""

    def __init__(self, given: Given) -> None:
        self._response = HttpResponse(200, (), given.body, given.headers)

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        """Whatever is asked: the body is read all the same."""
        return self._answer

    def _answer(self, body: bytes) -> HttpResponse:
        return self._response

    def refuse(self, error: InferenceError, code: int, head: RequestHead | None) -> HttpResponse:
        """What the gate would not take."""
        return HttpResponse(code)

    def left(self, stage: str) -> None:
        """Nobody counts it."""


async def serve(port: int, given: Given) -> None:
    """Until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    listener = await listen(Constant(given), "127.0.0.1", port, Limits())
    settle()
    await ended.wait()
    await listener.drain(0.0)


def main(arguments: Sequence[str]) -> int:
    """0: told to end."""
    port, answer = arguments
    uvloop.run(serve(int(port), msgspec.json.decode(Path(answer).read_bytes(), type=Given)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
