"""One worker: a gateway on shared ports, whose operators' port is the line to its parent."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path

import msgspec
import uvloop

from gateway.auth.settings import KeySourceError
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.reload.reloader import one_line
from gateway.serve import Gateway, settle
from gateway.telemetry.metrics import Metrics
from gateway.workers import channel

_log = logging.getLogger(__name__)


def work(line: socket.socket, document: GatewayDocument, file: Path, policy: bytes) -> int:
    """Serves until SIGTERM or until there is no parent any more, then ends in order; returns the exit status.

    `document` says on which ports, none of them 0; `policy` is what the parent has in force, read from `file`.
    """
    return uvloop.run(_work(line, document, file, policy))


async def _work(line: socket.socket, document: GatewayDocument, file: Path, policy: bytes) -> int:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    answers = channel.Answers(*await asyncio.open_unix_connection(sock=line))
    metrics = Metrics()
    try:
        gateway = Gateway(document, file, metrics, policy)
        await gateway.start()
    except (PolicyError, KeySourceError, OSError) as error:
        await answers.give(_refusals(str(error).encode() or b"it cannot start"))  # until the parent has heard it, and hangs up
        return 1
    serving = asyncio.create_task(answers.give(_answers(gateway)), name="parent")
    settle()
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    await gateway.stop()
    if not serving.done():
        await answers.tell(channel.LAST, metrics.exposition())
    stopped.cancel()
    serving.cancel()
    return 0


def _refusals(refusal: bytes) -> dict[bytes, channel.Answerer]:
    """What a worker answers that cannot start."""

    async def started(_: bytes) -> bytes:
        return refusal

    async def nothing(_: bytes) -> bytes:
        return b""

    return {channel.START: started, channel.METRICS: nothing, channel.POLICY: nothing}


def _answers(gateway: Gateway) -> dict[bytes, channel.Answerer]:
    async def started(_: bytes) -> bytes:
        return b""

    async def metrics(_: bytes) -> bytes:
        return gateway.metrics.exposition()

    async def take(text: bytes) -> bytes:
        if gateway.draining:
            return b""
        try:
            await gateway.take(text)
        except PolicyError as error:  # the parent took it, and sees by the answer that this worker did not
            _log.error("policy not taken from the parent: %s", one_line(error))
        return gateway.plane.snapshot.version.encode()

    async def keys(_: bytes) -> bytes:
        if not gateway.draining:
            await gateway.reload()
        return b""

    async def operator(credentials: bytes) -> bytes:
        return msgspec.json.encode(await gateway.judge(msgspec.json.decode(credentials, type=dict[str, str])))

    return {
        channel.START: started,
        channel.METRICS: metrics,
        channel.POLICY: take,
        channel.KEYS: keys,
        channel.OPERATOR: operator,
    }
