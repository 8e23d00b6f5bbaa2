"""The parent of several workers: keeps ports and policy, answers operators for all of them, passes signals on."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from socket import socket

import msgspec
from msgspec.structs import replace

from gateway.admin.api import Api
from gateway.admin.operators import STOPPING, Clearance
from gateway.admin.port import AdminListener, AdminState
from gateway.admin.port import listen as listen_admin
from gateway.aside import here
from gateway.configuration.readers import Address
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.mismatch import warn_of
from gateway.reload.policy_file import PolicyFile
from gateway.reload.records import Records
from gateway.reload.reloader import BY_SIGNAL, Judged, Reloader, judged
from gateway.serve import CLOSE_SECONDS
from gateway.spawner import Spawner
from gateway.telemetry.merge import Totals
from gateway.telemetry.metrics import ParentMetrics
from gateway.workers.ports import reserve
from gateway.workers.seat import Seat
from gateway.workers.worker import work

LOOK_SECONDS = 1.0  # between looks at the workers: what one counted since the last is lost if it is killed outright
HAND_ON_SECONDS = 5.0  # that a reload waits for workers
LAST_SECONDS = 3 * CLOSE_SECONDS  # that an orderly end may take beyond the grace
_log = logging.getLogger(__name__)


def run_workers(document: GatewayDocument, policy: Path) -> None:
    """Serves with several workers until SIGTERM or SIGINT. Raises PolicyError or OSError if they cannot start."""
    asyncio.run(Parent(document, policy).run())


class Parent:
    """Not on uvloop and without threads: what it runs on is what its workers are forked from."""

    def __init__(self, document: GatewayDocument, policy: Path) -> None:
        self._file = policy
        file = PolicyFile(policy, here)
        reading = file.first()
        first = judged(reading.text, str(policy))
        warn_of(document, first.blueprint)
        self._policy = reading.text  # in force: a worker that starts later gets it, whatever the file says then
        self._metrics = ParentMetrics()
        self._metrics.policy_loaded()
        self._spawner = Spawner()
        records = Records(document.state_folder, here, self._spawner.spawn)
        self._reloader = Reloader(file, (reading, first), self._hand_on, self._metrics.policy_refused, records)
        self._totals = Totals(without=ParentMetrics.WHOLE)
        http, self._http = reserve(document.listen.http)
        grpc, self._grpc = reserve(document.listen.grpc)
        self._document = replace(document, listen=replace(document.listen, http=http, grpc=grpc))
        self._seats = [Seat(number, self._work, lambda: self._policy, self._ended) for number in range(1, document.workers + 1)]
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._started = False

    async def run(self) -> None:
        """From the start of the workers to the end of the last."""
        address = self._document.listen.admin
        api = Api(self._reloader, self._judge, self._spawner.spawn)
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
                await self._stopping.wait()
                _log.info("stopping: requests in flight have %g s", self._document.drain.grace)
        finally:
            await self._end(kept)
            await self._reloader.records.written()
            await self._spawner.close()
            await admin.close()
            for held in (*self._http, *self._grpc):
                held.close()

    async def exposition(self) -> bytes:
        """The sum of what all workers count, and of those that have ended."""
        await asyncio.gather(*(seat.look() for seat in self._seats))
        own = self._metrics.exposition(sum(seat.serving for seat in self._seats))
        return self._totals.exposition([seat.exposition for seat in self._seats], own)

    def unready(self) -> list[str]:
        """Why no traffic is wanted: one worker that serves is enough to want it, as it gets all new connections."""
        if self._stopping.is_set():
            return ["draining"]
        if not self._started:
            return ["starting"]
        return [] if any(seat.serving for seat in self._seats) else ["no worker serves"]

    async def reload(self) -> None:
        """Takes the policy file into use again, and has every worker read the keys again."""
        await self._reloader.reload(BY_SIGNAL)
        await asyncio.gather(*(seat.read_keys() for seat in self._seats))

    async def _hand_on(self, policy: Judged) -> None:
        """Every worker gets the policy, those too that start later; who does not take it in time does so when it can."""
        warn_of(self._document, policy.blueprint)
        self._policy = policy.standing.text
        self._metrics.policy_loaded()
        given = [self._spawner.spawn(self._give(seat, policy), f"policy to {seat.number}") for seat in self._seats]
        await asyncio.wait(given, timeout=HAND_ON_SECONDS)

    async def _give(self, seat: Seat, policy: Judged) -> None:
        found = await seat.take(policy.standing.text)
        if found not in ("", policy.version):
            _log.error("worker %d has policy version %s in force and not %s", seat.number, found, policy.version)
            seat.signal(signal.SIGTERM)  # its successor starts with the one in force

    async def _judge(self, credentials: Mapping[str, str]) -> Clearance:
        """A worker's clearance: the keys are theirs."""
        if self._stopping.is_set():
            return STOPPING
        asked = msgspec.json.encode(credentials)
        for seat in self._seats:
            if clearance := await seat.judge(asked):
                return msgspec.json.decode(clearance, type=Clearance)
        return Clearance(503, error="no worker can check the credential now: try again")

    def _work(self, line: socket) -> int:
        return work(line, self._document, self._file, self._policy)

    def _ended(self, exposition: bytes, unasked: bool) -> None:
        self._totals.ended(exposition)
        if unasked:
            self._metrics.worker_ended()

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)

    def _stop(self) -> None:
        (self._hurried if self._stopping.is_set() else self._stopping).set()

    def _reload_soon(self) -> None:
        if self._started and not self._stopping.is_set():
            self._spawner.spawn(self.reload(), "reload")

    async def _all_started(self, started: list[asyncio.Future[None]]) -> bool:
        """Whether all serve, rather than being told to stop before. Raises the first one's StartError."""
        told = self._spawner.spawn(_until(self._stopping), "told to stop")
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
        """Every worker ends in order; when the time for it is over, or at a second signal, by force."""
        self._stopping.set()
        for seat in self._seats:
            seat.stop()
        hurried = self._spawner.spawn(_until(self._hurried), "told to hurry")
        ended = asyncio.ensure_future(asyncio.wait(kept))
        await asyncio.wait(
            (ended, hurried), timeout=self._document.drain.grace + LAST_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for seat in self._seats:
            seat.signal(signal.SIGKILL)
        await ended


async def _until(event: asyncio.Event) -> None:
    await event.wait()
