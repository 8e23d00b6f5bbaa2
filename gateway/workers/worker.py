"""One worker: a gateway on shared ports, whose operators' port is the line to its parent."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from gateway.admin.drains import Drained
from gateway.admin.purges import Order as PurgeOrder
from gateway.audit.words import Order as AuditOrder
from gateway.auth.fetching import Fetched, Handed
from gateway.auth.settings import KeySourceError
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.reload.reloader import one_line
from gateway.rollout.words import Order
from gateway.serve import Gateway, settle
from gateway.telemetry.metrics import Metrics
from gateway.workers import channel

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker serves, HTTP on the sockets `http`. No port of `document` is 0; `policy` is in force, and stood in `file`.

    `drained` is what operators have taken out of use, `known` the key sets that other workers have fetched, by issuer,
    `rollouts` and `audits` how those stand.
    """

    document: GatewayDocument
    file: Path
    policy: bytes
    drained: Drained
    http: Sequence[socket.socket]
    known: Mapping[str, Fetched]
    rollouts: Sequence[Order] = ()
    audits: Sequence[AuditOrder] = ()


def work(line: socket.socket, task: Task) -> int:
    """Serves until told to end or until there is no parent any more, then ends in order; returns the exit status."""
    return uvloop.run(_work(line, task))


async def _work(line: socket.socket, task: Task) -> int:
    ending, told = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    answers = channel.Answers(*await asyncio.open_unix_connection(sock=line))
    metrics = Metrics()
    try:
        gateway = Gateway(task.document, task.file, metrics, task.policy)
        gateway.handed = Handed(task.known, lambda fetched: answers.say(channel.FETCHED, msgspec.json.encode(fetched)))
        await gateway.hold(task.drained)
        gateway.rollouts.exchange(task.rollouts)
        gateway.audits.exchange(task.audits)
        await gateway.start(task.http)
    except (PolicyError, KeySourceError, OSError) as error:
        await answers.give(_refusals(str(error).encode() or b"it cannot start"))  # until the parent has heard it, and hangs up
        return 1
    serving = asyncio.create_task(answers.give(_answers(gateway, ending)), name="parent")
    leaving = asyncio.create_task(_ask_to_leave(told, answers), name="leaving")
    settle()
    ended = asyncio.create_task(ending.wait(), name="ending")
    await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
    await gateway.stop()
    if not serving.done():
        await answers.tell(channel.LAST, metrics.exposition())
    for each in (ended, leaving, serving):
        each.cancel()
    return 0


async def _ask_to_leave(told: asyncio.Event, answers: channel.Answers) -> None:
    """Whoever tells a worker to end: another shall serve first, which is the parent's to see to."""
    while True:
        await told.wait()
        told.clear()
        with suppress(ConnectionError):
            await answers.tell(channel.LEAVE, b"")


def _refusals(refusal: bytes) -> dict[bytes, channel.Answerer]:
    """What a worker answers that cannot start."""

    async def started(_: bytes) -> bytes:
        return refusal

    async def nothing(_: bytes) -> bytes:
        return b""

    asked = (channel.METRICS, channel.POLICY, channel.HOLD, channel.PURGE, channel.ROLLOUTS)
    more = (channel.AUDITS, channel.GATHER, channel.END)
    return {channel.START: started, **dict.fromkeys((*asked, *more), nothing)}


def _answers(gateway: Gateway, ending: asyncio.Event) -> dict[bytes, channel.Answerer]:
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
        **_endings(gateway, ending),
    }


def _endings(gateway: Gateway, ending: asyncio.Event) -> dict[bytes, channel.Answerer]:
    async def hold(drained: bytes) -> bytes:
        await gateway.hold(msgspec.json.decode(drained, type=Drained))
        return b""

    async def purge(told: bytes) -> bytes:
        order = msgspec.json.decode(told, type=PurgeOrder)
        return msgspec.json.encode(await gateway.purge(order.which, order.name))

    async def endpoints(_: bytes) -> bytes:
        return msgspec.json.encode(await gateway.endpoints())

    async def shadows(_: bytes) -> bytes:
        return msgspec.json.encode(gateway.shadows.seen())

    async def rollouts(orders: bytes) -> bytes:
        return msgspec.msgpack.encode(gateway.rollouts.exchange(msgspec.msgpack.decode(orders, type=list[Order])))

    async def page(asked: bytes) -> bytes:
        return b"" if gateway.pages is None else await gateway.pages.relay(asked)

    async def audits(orders: bytes) -> bytes:
        return msgspec.msgpack.encode(gateway.audits.exchange(msgspec.msgpack.decode(orders, type=list[AuditOrder])))

    async def gather(_: bytes) -> bytes:
        return msgspec.msgpack.encode(gateway.desk.take())

    async def end(_: bytes) -> bytes:
        ending.set()
        return b""

    told = {channel.ENDPOINTS: endpoints, channel.SHADOWS: shadows, channel.ROLLOUTS: rollouts, channel.AUDITS: audits}
    told |= {channel.PAGE: page, channel.GATHER: gather}
    return {channel.HOLD: hold, channel.PURGE: purge, **told, channel.END: end}
