"""The parent of several workers: keeps ports and policy, answers operators for all of them, passes signals on."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from socket import socket

import msgspec
from msgspec.structs import replace

from gateway.admin.api import Api, Controls
from gateway.admin.drains import Drained, Drains
from gateway.admin.endpoints import EndpointState, merged
from gateway.admin.operators import STOPPING, Clearance
from gateway.admin.port import AdminListener, AdminState
from gateway.admin.port import listen as listen_admin
from gateway.admin.purges import Heard, Order
from gateway.aside import here
from gateway.audit.words import Order as AuditOrder
from gateway.audit.words import Told as AuditTold
from gateway.auth.fetching import Fetched
from gateway.configuration.problems import PolicyError
from gateway.configuration.readers import Address
from gateway.configuration.schema_gateway import MEMORY, GatewayDocument
from gateway.edge.leave import close_off
from gateway.experiment.words import Gathered
from gateway.leads import Leads, Reach
from gateway.mismatch import warn_of
from gateway.reload.audit_log import Change
from gateway.reload.policy_file import PolicyFile
from gateway.reload.records import Records, now
from gateway.reload.reloader import BY_SIGNAL, Judged, Reloader, judged, one_line
from gateway.rollout import words
from gateway.serve import CLOSE_SECONDS
from gateway.shadow.report import Report, Seen, reports
from gateway.spawner import Spawner
from gateway.stopping import Stopping
from gateway.telemetry.merge import Totals
from gateway.telemetry.metrics import ParentMetrics
from gateway.workers import channel
from gateway.workers.life import Life, Orders
from gateway.workers.ports import Sockets, close, reserve
from gateway.workers.relayed import RelayedPages
from gateway.workers.reread import reread
from gateway.workers.seat import Seat
from gateway.workers.worker import Task, work
from routing.cache.caching import Purge

LOOK_SECONDS = 1.0  # between looks at the workers: what one counted since the last is lost if it is killed outright
HAND_ON_SECONDS = 5.0  # that a reload waits for workers
LAST_SECONDS = 3 * CLOSE_SECONDS  # that an orderly end may take beyond the grace
_log = logging.getLogger(__name__)


def run_workers(document: GatewayDocument, file: Path, policy: Path) -> None:
    """Serves with several workers until SIGTERM or SIGINT. `file` says what `document` is.

    Raises PolicyError or OSError if they cannot start.
    """
    asyncio.run(Parent(document, file, policy).run())


class Parent:
    """Not on uvloop and without threads: what it runs on is what its workers are forked from."""

    def __init__(self, document: GatewayDocument, file_of_document: Path, policy: Path) -> None:
        self._file, self._document_file, self._written = policy, file_of_document, document
        file = PolicyFile(policy, here)
        reading = file.first()
        first = judged(reading.text, str(policy), folder=policy.parent)
        warn_of(document, first.blueprint)
        self._policy = reading.text  # in force: a worker that starts later gets it, whatever the file says then
        self._metrics = ParentMetrics()
        self._metrics.policy_loaded()
        self._spawner = Spawner()
        records = Records(document.state_folder, here, self._spawner.spawn)
        self._reloader = Reloader(file, (reading, first), self._hand_on, self._metrics.policy_refused, records)
        self._pages = None if document.store == MEMORY else RelayedPages(self._page)
        reach = Reach(self._exchange, self._exchange_audits, self._gather, self.shadow_reports, self._pages)
        self._leads = Leads(self._reloader, reach, document.state_folder, here, self._metrics)
        self._totals = Totals(without=ParentMetrics.WHOLE)
        http, self._http = reserve(document.listen.http, document.workers, document.listen.shared)
        grpc, self._grpc = reserve(document.listen.grpc, shared=document.listen.shared)
        self._listen = replace(document.listen, http=http, grpc=grpc)
        self._document = replace(document, listen=self._listen)
        self._drains = Drains(self.endpoints, self.hold)
        self._seats = [
            Seat(number, sockets, partial(self._work, sockets), self._orders, self._ended)
            for number, sockets in enumerate(self._http, 1)
        ]
        self._stopping = Stopping()
        self._replacement = asyncio.Event()  # is wanted
        self._started = False
        self._known: dict[str, Fetched] = {}  # what workers have fetched last, by issuer

    async def run(self) -> None:
        """From the start of the workers to the end of the last."""
        address = self._document.listen.admin
        controls = Controls(self._drains, self.purge, self.shadow_reports, self._leads, self.exposition)
        api = Api(self._reloader, controls, self._judge, self._spawner.spawn)
        admin = await listen_admin(AdminState(self.exposition, self.unready, api.answer), address.host, address.port)
        self._heed_signals()
        gc.collect()
        gc.freeze()  # else a child's first collection would write to, and so copy, all the memory that it shares
        loop = asyncio.get_running_loop()
        started: list[asyncio.Future[None]] = [loop.create_future() for _ in self._seats]
        kept = [
            self._spawner.spawn(seat.keep(future), f"seat {seat.number}")
            for seat, future in zip(self._seats, started, strict=True)
        ]
        try:
            if await self._all_started(started):
                self._tell_ready(admin)
                self._spawner.spawn(self._look(), "looking at workers")
                self._spawner.spawn(self._reloader.keep(), "policy")
                self._leads.keep(self._spawner.spawn)
                self._spawner.spawn(self._replacements(), "replacing workers")
                await self._stopping.asked.wait()
                await self._notice()
                _log.info("stopping: requests in flight have %g s", self._document.drain.grace)
                await self._leads.experiments.end()
        finally:
            await self._end(kept)
            await self._reloader.records.written()
            await self._spawner.close()
            await admin.close()
            close([*self._http, *self._grpc])

    async def _exchange(self, orders: Sequence[words.Order]) -> list[list[words.Told]]:
        """What every worker that serves has counted; those too that start hear how rollouts stand now."""
        told = await _heard(self._lives(), channel.ROLLOUTS, msgspec.msgpack.encode(orders))
        return [msgspec.msgpack.decode(each, type=list[words.Told]) for each in told]

    async def _gather(self) -> list[Gathered]:
        """What clients have told every worker of their requests, and of which they may."""
        return [msgspec.msgpack.decode(each, type=Gathered) for each in await _heard(self._serving(), channel.GATHER)]

    async def _page(self, asked: bytes) -> bytes:
        """By the first worker that serves: the parent has no connections that its workers could come to share."""
        for life in self._serving():
            return await life.tell(channel.PAGE, asked)
        return b""

    async def _exchange_audits(self, orders: Sequence[AuditOrder]) -> list[list[AuditTold]]:
        told = await _heard(self._lives(), channel.AUDITS, msgspec.msgpack.encode(orders))
        return [msgspec.msgpack.decode(each, type=list[AuditTold]) for each in told]

    async def exposition(self) -> bytes:
        """The sum of what all workers count, and of those that have ended."""
        await asyncio.gather(*(life.look() for life in self._lives()))
        own = self._metrics.exposition(sum(seat.serving for seat in self._seats))
        lives = self._lives()  # not those from before: who has ended meanwhile is in the totals
        return self._totals.exposition([life.exposition for life in lives], own)

    async def endpoints(self) -> list[EndpointState]:
        """How every endpoint does, as all workers see it."""
        told = await _heard(self._serving(), channel.ENDPOINTS)
        return merged(msgspec.json.decode(each, type=list[EndpointState]) for each in told)

    async def shadow_reports(self) -> list[Report]:
        """What every shadow of the policy in force has seen, in all workers together."""
        told = await _heard(self._serving(), channel.SHADOWS)
        seen = [each for part in told for each in msgspec.json.decode(part, type=list[Seen])]
        return reports(self._reloader.in_force.blueprint.tables, seen)

    async def hold(self, drained: Drained) -> None:
        """Every worker asks nothing new of what an operator has drained, nor does one that starts later."""
        await _heard(self._lives(), channel.HOLD, msgspec.json.encode(drained))

    async def purge(self, which: Purge) -> Heard:
        """Every worker that keeps something throws away what is meant."""
        told = await _heard(self._lives(), channel.PURGE, msgspec.json.encode(Order(which, secrets.token_hex(8))))
        heard = [msgspec.json.decode(each, type=Heard) for each in told]
        return True if True in heard else False if False in heard else None

    async def _notice(self) -> None:
        """Not ready, on any port, and everything is served."""
        self._spawner.spawn(self.hold(replace(self._drains.drained, gateway=True)), "notice")
        await self._stopping.due(self._document.drain.notice)

    def _lives(self) -> list[Life]:
        """All workers, those too that start or are being replaced: what they are told then holds when they serve."""
        return [life for seat in self._seats for life in seat.lives]

    def _serving(self) -> list[Life]:
        return [life for life in self._lives() if life.serving]

    def _orders(self) -> Orders:
        drained = msgspec.json.encode(self._drains.drained)
        rollouts = msgspec.msgpack.encode(self._leads.rollouts.orders) if self._leads.rollouts.orders else b""
        audits = msgspec.msgpack.encode(self._leads.audits.orders) if self._leads.audits.orders else b""
        patience = self._document.drain.grace + LAST_SECONDS
        return Orders(self._policy, drained, patience, self._fetched, rollouts, audits)

    def _fetched(self, told: bytes) -> None:
        fetched = msgspec.json.decode(told, type=Fetched)
        self._known[fetched.issuer] = fetched

    def unready(self) -> list[str]:
        """Why no traffic is wanted: one worker that serves is enough to want it, as it gets all new connections."""
        if self._stopping.asked.is_set():
            return ["draining"]
        if not self._started:
            return ["starting"]
        if self._drains.drained.gateway:
            return ["drained by an operator"]
        return [] if any(seat.serving for seat in self._seats) else ["no worker serves"]

    async def reload(self) -> None:
        """Takes the policy file into use again, and has every worker read the keys again."""
        await self._reloader.reload(BY_SIGNAL)
        await asyncio.gather(*(life.read_keys() for life in self._lives()))

    async def replace(self) -> None:
        """Another worker in every place, one after the other, by what gateway.yaml says now.

        What is wrong with it, or keeps a worker from starting, is logged; the workers that were not replaced yet go on.
        """
        before, version = self._document, self._reloader.in_force.version
        try:
            document = reread(self._document_file, self._written)
            self._document = replace(document, listen=self._listen)
            warn_of(document, self._reloader.in_force.blueprint)
            for seat in self._seats:
                if seat.life is not None:
                    await seat.replace(seat.life)
        except (PolicyError, OSError) as error:
            self._document, said = before, one_line(error)
            _log.error("workers not replaced, those that run go on: %s", said)
            change = Change(now(), "SIGUSR2", "signal", "replace", version, version, "refused", error=said)
        else:
            self._written = document
            _log.info("%d workers replaced", len(self._seats))
            change = Change(now(), "SIGUSR2", "signal", "replace", version, version, "ok")
        self._reloader.records.told(change)

    async def _replacements(self) -> None:
        """As often as they are wanted; once more if that was while they were under way."""
        while True:
            await self._replacement.wait()
            self._replacement.clear()
            await self.replace()

    async def _hand_on(self, policy: Judged) -> None:
        """Every worker gets the policy, those too that start later; who does not take it in time does so when it can."""
        warn_of(self._document, policy.blueprint)
        self._policy = policy.standing.text
        self._metrics.policy_loaded()
        given = [self._spawner.spawn(self._give(life, policy), "policy to a worker") for life in self._lives()]
        if given:
            await asyncio.wait(given, timeout=HAND_ON_SECONDS)

    async def _give(self, life: Life, policy: Judged) -> None:
        found = await life.take(policy.standing.text)
        if found not in ("", policy.version):
            _log.error("a worker has policy version %s in force and not %s, and is replaced", found, policy.version)
            life.leave.set()  # its successor starts with the one in force

    async def _judge(self, credentials: Mapping[str, str]) -> Clearance:
        """A worker's clearance: the keys are theirs."""
        if self._stopping.asked.is_set():
            return STOPPING
        asked = msgspec.json.encode(credentials)
        for life in self._serving():
            if clearance := await life.tell(channel.OPERATOR, asked):
                return msgspec.json.decode(clearance, type=Clearance)
        return Clearance(503, error="no worker can check the credential now: try again")

    def _work(self, http: Sockets, line: socket) -> int:
        held, known, orders = self._drains.drained, self._known, (self._leads.rollouts.orders, self._leads.audits.orders)
        return work(line, Task(self._document, self._file, self._policy, held, http, known, *orders))

    def _ended(self, exposition: bytes, unasked: bool) -> None:
        self._totals.ended(exposition)
        if unasked:
            self._metrics.worker_ended()

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.terminate)
        loop.add_signal_handler(signal.SIGINT, self._stopping.interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        loop.add_signal_handler(signal.SIGUSR2, self._replacement.set)

    def _reload_soon(self) -> None:
        if self._started and not self._stopping.asked.is_set():
            self._spawner.spawn(self.reload(), "reload")

    async def _all_started(self, started: list[asyncio.Future[None]]) -> bool:
        """Whether all serve, rather than being told to stop before. Raises the first one's StartError."""
        told = self._spawner.spawn(_until(self._stopping.asked), "told to stop")
        every = asyncio.ensure_future(asyncio.wait(started, return_when=asyncio.FIRST_EXCEPTION))
        await asyncio.wait((every, told), return_when=asyncio.FIRST_COMPLETED)
        if not every.done():
            every.cancel()
            return False
        for future in started:
            if future.done():
                future.result()
        self._started = True
        return True

    def _tell_ready(self, admin: AdminListener) -> None:
        listen = self._document.listen
        own = Address(listen.admin.host, admin.port)
        _log.info("ready: http %s, grpc %s, admin %s, %d workers", listen.http, listen.grpc, own, len(self._seats))

    async def _look(self) -> None:
        while True:
            await asyncio.gather(*(seat.watch() for seat in self._seats))
            await asyncio.sleep(LOOK_SECONDS)

    async def _end(self, kept: list[asyncio.Task[None]]) -> None:
        """Every worker ends in order; when the time for it is over, or at another signal, by force."""
        self._stopping.asked.set()
        self._stopping.draining.set()
        if self._started:
            await close_off([each for place in self._http for each in place])
        for seat in self._seats:
            seat.stop()
        close(self._http)
        hurried = self._spawner.spawn(_until(self._stopping.cut_off), "told to hurry")
        ended = asyncio.ensure_future(asyncio.wait(kept))
        await asyncio.wait(
            (ended, hurried), timeout=self._document.drain.grace + LAST_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for seat in self._seats:
            seat.kill()
        await ended


async def _heard(lives: Sequence[Life], what: bytes, content: bytes = b"") -> list[bytes]:
    """What these workers answer, of those that do."""
    return [each for each in await asyncio.gather(*(life.tell(what, content) for life in lives)) if each]


async def _until(event: asyncio.Event) -> None:
    await event.wait()
