"""One worker: a gateway on shared ports, whose operators' port is the line to its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import uvloop

from gateway.admin import AdminState
from gateway.auth.settings import KeySourceError
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.serve import Gateway, settle
from gateway.telemetry.metrics import Metrics
from gateway.workers import channel


def work(line: socket.socket, document: GatewayDocument, policy: bytes) -> int:
    """Serves until SIGTERM or until there is no parent any more, then ends in order; returns the exit status.

    `document` says on which ports, none of them 0; `policy` is the document that the parent has in force.
    """
    return uvloop.run(_work(line, document, PolicyFile(policy)))


class PolicyFile:
    """The policy as a file of this process's memory: what is in force, whatever is being written to the one on disk."""

    def __init__(self, policy: bytes) -> None:
        self._number = os.memfd_create("policy.yaml")
        self.path = Path(f"/proc/self/fd/{self._number}")
        self.write(policy)

    def write(self, policy: bytes) -> None:
        """Puts another document in place of the one that is there."""
        os.ftruncate(self._number, 0)
        os.pwrite(self._number, policy, 0)


class _Line:
    """Stands where a process alone has its operators' port: the line is open for as long as the process lives."""

    port = 0

    async def close(self) -> None:
        """Nothing to do."""


async def _no_port(state: AdminState, host: str, port: int) -> _Line:
    return _Line()


async def _work(line: socket.socket, document: GatewayDocument, policy: PolicyFile) -> int:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    answers = channel.Answers(*await asyncio.open_unix_connection(sock=line))
    metrics = Metrics()
    refusal, gateway = b"", None
    try:
        gateway = Gateway(document, policy.path, metrics)
        await gateway.start(_no_port)
    except (PolicyError, KeySourceError, OSError) as error:
        refusal = str(error).encode() or b"it cannot start"
    serving = asyncio.create_task(_answer(answers, refusal, gateway, policy), name="parent")
    if gateway is None or refusal:
        await serving  # until the parent has heard why, and hangs up
        return 1
    settle()
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    await gateway.stop()
    if not serving.done():
        await answers.tell(channel.LAST, metrics.exposition())
    stopped.cancel()
    serving.cancel()
    return 0


async def _answer(answers: channel.Answers, refusal: bytes, gateway: Gateway | None, policy: PolicyFile) -> None:
    async def started(_: bytes) -> bytes:
        return refusal

    async def metrics(_: bytes) -> bytes:
        return b"" if gateway is None else gateway.metrics.exposition()

    async def take(text: bytes) -> bytes:
        if gateway is None or gateway.draining:
            return b""
        policy.write(text)
        await gateway.reload()
        return gateway.plane.snapshot.version.encode()

    await answers.give({channel.START: started, channel.METRICS: metrics, channel.POLICY: take})
