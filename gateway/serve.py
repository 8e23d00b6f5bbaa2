"""The running process: reads its configuration, opens the three ports, reloads on SIGHUP, ends in order on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

import msgspec
import uvloop
from msgspec import structs

from gateway.admin.api import Api, Controls
from gateway.admin.drains import Drained, Drains
from gateway.admin.endpoints import EndpointState, states
from gateway.admin.operators import STOPPING, Clearance, judge
from gateway.admin.port import AdminPort, AdminState, NoPort
from gateway.admin.port import listen as listen_admin
from gateway.admin.purges import Heard
from gateway.aside import Aside, alone
from gateway.audit.audits import audits_of
from gateway.auth.authenticator import Authenticator
from gateway.auth.authenticator import build as build_authenticator
from gateway.auth.fetching import Handed
from gateway.compile import Lasting, compile_snapshot
from gateway.configuration.files import read_file
from gateway.configuration.load import load_gateway
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.dataplane import Dataplane
from gateway.edge.grpc import GrpcLimits, GrpcListener
from gateway.edge.grpc import listen as listen_grpc
from gateway.edge.limits import Limits
from gateway.edge.listener import HttpListener, serve
from gateway.edge.listener import listen as listen_http
from gateway.experiment.desk import Desk
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.health import Health
from gateway.ids import request_ids
from gateway.leads import Leads, Reach
from gateway.mismatch import warn_of
from gateway.process_parts import access_log_of, auth_settings, samples_of, store_of
from gateway.reload.policy_file import PolicyFile
from gateway.reload.records import Records
from gateway.reload.reloader import BY_SIGNAL, Judged, Reloader, judged
from gateway.rollout.rollouts import Rollouts
from gateway.shadow.report import Report, Seen, reports
from gateway.shadow.shadows import shadows_of
from gateway.signatures import Signatures
from gateway.spawner import Spawner
from gateway.stopping import Stopping
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.stall import StallProbe
from policies.budget import LocalTreasury
from policies.keeping import Around
from policies.limit import LocalMeter
from policies.local_store import LocalStore
from routing.cache.caching import Purge
from routing.cache.key import Keys

if TYPE_CHECKING:
    from gateway.store.answers import SharedAnswers

CLOSE_SECONDS = 5.0  # for what is still in flight after the grace to notice that it was cancelled
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """The open listeners."""

    http: HttpListener
    grpc: GrpcListener
    admin: AdminPort


class Gateway:
    """One process's worth of gateway. Made by `start`; `reload` and `stop` are what signals ask for."""

    ports: Ports
    _authenticator: Authenticator
    _stalls: StallProbe

    def __init__(self, document: GatewayDocument, policy: Path, metrics: Metrics, given: bytes | None = None) -> None:
        """`policy` is the file to keep in force. A worker's parent does that, and has `given` it what the file says.

        Raises PolicyError for what the policy says, OSError for the file.
        """
        self.document, self.metrics = document, metrics
        self.spawner = Spawner()
        self.reloader: Reloader | None = None
        self.handed = Handed()  # what a worker has of others' keys, set before it starts
        self._policy = policy
        self._beside, self._recording = Aside("policy"), Aside("state")  # apart: a folder that hangs must not hold up the other
        if given is None:
            file = PolicyFile(policy, self._beside)
            reading = file.first()
            first = judged(reading.text, str(policy), folder=policy.parent)
            warn_of(document, first.blueprint)
            records = Records(document.state_folder, self._recording, self.spawner.spawn)
            self.reloader = Reloader(file, (reading, first), self._put, metrics.policy_refused, records)
        else:
            first = judged(given, str(policy), folder=policy.parent)
        self._store = store_of(document, metrics)
        self._near = LocalStore(document.cache, time.monotonic)
        self._answers: LocalStore | SharedAnswers = self._near
        self._signatures = signatures = Signatures()
        self.rollouts = Rollouts(self.spawner)
        means = self.spawner.spawn, metrics.shadowed, document.telemetry.pairs, metrics.costs.mirrored
        self.shadows = shadows_of(*means, self.rollouts.held)
        self.desk = Desk(self.rollouts.noted)
        self.audits = audits_of(self.spawner.spawn, metrics.audited.told, metrics.audited.paid)
        self.pages = None if self._store is None else self._store.pages(self.spawner.spawn)
        self._lasting = self._kept(Keys(secrets.token_bytes(32), signatures.versions))
        snapshot = compile_snapshot(first.blueprint, None, metrics, time.monotonic, self._lasting)
        self.plane = Dataplane(snapshot, signatures)
        self.leads = self._leads()
        self.stopping = self.draining = False  # not ready, everything is served; until nothing new is taken
        self.drains = Drains(self.endpoints, self.hold)
        metrics.in_flight, metrics.serving, metrics.lanes = self._in_flight, self._serving, self._lanes
        metrics.cache_size = self._kept_bytes
        self._access_log = access_log_of(document)
        self._samples = samples_of(document)

    def _kept(self, keys: Keys) -> Lasting:
        """Of every policy that comes: who has used up a limit has done so, and what was answered is kept."""
        store, answer, self.audits.fell = self._store, self.document.limits.answer, keys.fall
        own = self.spawner, self.shadows, self.rollouts, self.audits
        if store is None:
            meter = LocalMeter(time.monotonic, self.document.workers)
            treasury = LocalTreasury(time.time, self.document.workers)
            return Lasting(meter, self._answers, keys, *own, treasury=treasury, answer=answer)
        self._answers = store.share(self._near, keys, Around(time.monotonic, random.random, self.spawner.spawn))
        return Lasting(store.meter, self._answers, keys, *own, store.leases, treasury=store.treasury, answer=answer)

    def _leads(self) -> Leads | None:
        """Who decides on rollouts, audits and A/B tests here; of workers their parent does. What was decided before holds now."""
        self.rollouts.snapshot = lambda: self.plane.snapshot
        if self.reloader is None:
            return None
        reach = Reach(self.rollouts.alone, self.audits.alone, self.desk.alone, self.shadow_reports, self.pages)
        leads = Leads(self.reloader, reach, self.document.state_folder, self._recording, self.metrics)
        self.rollouts.exchange(leads.rollouts.orders)
        self.audits.exchange(leads.audits.orders)
        return leads

    async def start(self, http: Sequence[socket] = ()) -> None:
        """Opens the ports; operators ask a worker's parent, which gives it sockets to serve HTTP on.

        Raises KeySourceError for key files that cannot be used, OSError for a port that cannot be had.
        """
        document, listening = self.document, self.document.listen
        if self._store is not None:
            await self._store.start(self.spawner.spawn)
        if self.leads and self.pages:
            await self.leads.rollouts.round()  # what all have come to holds from the first request on
        self._authenticator = await build_authenticator(auth_settings(document.auth), self.spawner.spawn, handed=self.handed)
        self.metrics.issuers = self._authenticator.issuers
        plane, inflated = self.plane, document.limits.inflated
        parts = FrontParts(
            *(plane, self._authenticator, self._teller(), request_ids(), self.ready, inflated, self._samples),
            leaving=lambda: self.draining,
            left=self.metrics.left,
            feedback=self.desk.give,
        )
        self.metrics.policy_loaded(self.plane.snapshot.version)
        self.spawner.spawn(self._signatures.watch(lambda: self.plane.snapshot), "signatures")
        self.spawner.spawn(Health(lambda: self.plane.snapshot).watch(), "health")
        limits = Limits(**structs.asdict(document.limits)).of_each(document.workers)
        grpc_limits = GrpcLimits(message=document.limits.body, metadata=document.limits.headers)
        front, address, shared = HttpFront(parts), listening.grpc, listening.shared
        self.ports = Ports(
            await (
                serve(front, http, limits)
                if http
                else listen_http(front, listening.http.host, listening.http.port, limits, shared)
            ),
            await listen_grpc(GrpcFront(parts), address.host, address.port, grpc_limits, shared or document.workers > 1),
            await self._listen_admin(),
        )
        self._close_off = shared and not http  # the parent does it for its workers
        self._stalls = StallProbe(self.metrics.stalled)
        if self.reloader is not None:
            self.spawner.spawn(self.reloader.keep(), "policy")
        if self.leads is not None:
            self.leads.keep(self.spawner.spawn)

    async def _listen_admin(self) -> AdminPort:
        if self.reloader is None:
            return NoPort()
        address = self.document.listen.admin
        controls = Controls(self.drains, self.purge, self.shadow_reports, self.leads, self.exposition)
        api = Api(self.reloader, controls, self.judge, self.spawner.spawn)
        return await listen_admin(AdminState(self.exposition, self.unready, api.answer), address.host, address.port)

    async def exposition(self) -> bytes:
        """The metrics as Prometheus text."""
        return self.metrics.exposition()

    def _kept_bytes(self) -> int:
        return self._near.size

    def _in_flight(self) -> dict[str, int]:
        return {name: cluster.in_flight for name, cluster in self.plane.snapshot.clusters.items()}

    def _serving(self) -> list[tuple[str, str, bool]]:
        clusters = self.plane.snapshot.clusters.items()
        return [(name, endpoint.address, endpoint.serves) for name, cluster in clusters for endpoint in cluster.endpoints]

    def _lanes(self) -> list[tuple[str, str, int, int]]:
        clusters = self.plane.snapshot.clusters.items()
        lanes = ((name, model, lane) for name, cluster in clusters for model, lane in cluster.places.lanes.items())
        return [(name, model, lane.limit, len(lane.queue)) for name, model, lane in lanes]

    def ready(self) -> bool:
        """Whether this process wants traffic."""
        return not self.unready()

    def unready(self) -> list[str]:
        """Why it does not, in words; empty when it does."""
        if self.stopping:
            return ["draining"]
        return ["drained by an operator"] if self.drains.drained.gateway else []

    async def endpoints(self) -> list[EndpointState]:
        """How every endpoint of the policy in force does."""
        return states(self.plane.snapshot)

    async def shadow_reports(self) -> Sequence[Report]:
        """What every shadow of the policy in force has seen; a worker is asked by its parent instead."""
        assert self.reloader is not None, "a worker has no admin port"
        tables, told = self.reloader.in_force.blueprint.tables, msgspec.json.encode(self.shadows.seen())
        return await alone(lambda: reports(tables, msgspec.json.decode(told, type=list[Seen])))

    async def purge(self, which: Purge, order: str = "") -> Heard:
        """Gives nobody again what was asked before now and is meant here. `order` names it where several are given it."""
        if isinstance(self._answers, LocalStore):
            self._answers.purge(which, time.monotonic())
            return None
        self._answers.purge(which, time.monotonic(), order)
        return await self._answers.told()

    async def hold(self, drained: Drained) -> None:
        """Asks nothing new of what an operator has drained."""
        self.drains.drained = drained
        drained.apply(self.plane.snapshot.clusters)
        self.shadows.hold(drained)
        self.audits.hold(drained)

    async def reload(self) -> None:
        """Takes the keys and, if it is this process's to read, the policy file into use again.

        What cannot be used stays as it was and is logged.
        """
        policy = [] if self.reloader is None else [self.reloader.reload(BY_SIGNAL)]
        await asyncio.gather(*policy, self._authenticator.reload())

    async def take(self, policy: bytes) -> None:
        """Puts a document in force that a worker's parent has judged. Raises PolicyError."""
        await self._put(await self._beside(lambda: judged(policy, str(self._policy), folder=self._policy.parent)))

    async def _put(self, policy: Judged) -> None:
        """All that can fail, then one assignment."""
        if self.reloader is not None:  # else the parent of the workers says it
            warn_of(self.document, policy.blueprint)
        previous = self.plane.snapshot
        snapshot = compile_snapshot(policy.blueprint, previous, self.metrics, time.monotonic, self._lasting)
        self.drains.drained.apply(snapshot.clusters)
        self.plane.snapshot = snapshot
        self.metrics.policy_loaded(snapshot.version)
        kept = set(map(id, snapshot.clusters.values()))
        for cluster in previous.clusters.values():
            if id(cluster) not in kept:
                self.spawner.spawn(cluster.close(), f"close cluster {cluster.name}")  # which waits for what it has in flight

    async def judge(self, credentials: Mapping[str, str]) -> Clearance:
        """Whether an operator shows these credentials."""
        if self.draining:
            return STOPPING
        return await judge(self._authenticator, credentials, time.time())

    def reload_soon(self) -> None:
        """What SIGHUP asks for."""
        if not self.draining:
            self.spawner.spawn(self.reload(), "reload")

    async def stop(self, cut_off: asyncio.Event | None = None) -> None:
        """No new connections, then the requests in flight end or the grace is over, then everything is closed.

        `cut_off` ends the grace.
        """
        self.stopping = self.draining = True
        http, grpc, times = self.ports.http, self.ports.grpc, self.document.drain
        draining = asyncio.gather(http.drain(times.grace, times.idle, self._close_off), grpc.drain(times.grace, times.idle))
        hurried = asyncio.ensure_future((cut_off or asyncio.Event()).wait())
        await asyncio.wait((draining, hurried), return_when=asyncio.FIRST_COMPLETED)
        if hurried.done():
            await asyncio.gather(http.drain(0), grpc.drain(0))
        hurried.cancel()
        await draining
        if self.reloader is not None:
            await self.reloader.records.written()
        if self.leads is not None:
            await self.leads.experiments.end()
        await self.spawner.close()
        with suppress(TimeoutError):  # a backend that never lets go must not hold the process
            async with asyncio.timeout(CLOSE_SECONDS):
                clusters = self.plane.snapshot.clusters.values()
                await asyncio.gather(self.shadows.close(), self.audits.close(), *(cluster.close() for cluster in clusters))
        self._stalls.stop()
        await self.ports.admin.close()
        if self._store is not None:
            self._store.close()
        self._beside.close()
        self._recording.close()
        if self._access_log is not None:
            await self._access_log.close()
        if self._samples is not None:
            await self._samples.close()

    def _teller(self) -> Callable[[RequestRecord], None]:
        """Whom requests are told to: metrics alone, where nobody else wants them."""
        count, log, samples = self.metrics.requested, self._access_log, self._samples
        if log is None and samples is None:
            return count

        def tell(record: RequestRecord) -> None:
            count(record)
            if log is not None:
                log.write(record)
            if record.drawn is not None and samples is not None:
                samples.take(record.drawn, record)

        return tell


def run(gateway_file: Path, policy_file: Path) -> None:
    """Serves until SIGTERM or SIGINT, then ends in order. Raises PolicyError, KeySourceError or OSError if it cannot start."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    document = load_gateway(read_file(gateway_file), str(gateway_file))
    if document.workers > 1:
        from gateway.workers.parent import run_workers

        run_workers(document, gateway_file, policy_file)
    else:
        uvloop.run(_serve(document, policy_file))


def settle() -> None:
    """Tunes the collection of garbage for a process that has loaded what it needs."""
    gc.collect()
    gc.freeze()  # what was loaded stays: collections need not walk it
    gc.set_threshold(50_000, 20, 50)  # requests leave no cycles behind; the default walks the young generation every few requests


async def _serve(document: GatewayDocument, policy: Path) -> None:
    gateway, stopping, loop = Gateway(document, policy, Metrics()), Stopping(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.terminate)
    loop.add_signal_handler(signal.SIGINT, stopping.interrupt)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # until there is something to reload; its default is to end the process
    loop.add_signal_handler(signal.SIGUSR2, lambda: _log.error("no workers to replace: start another gateway, see listen.shared"))
    await gateway.start()
    loop.add_signal_handler(signal.SIGHUP, gateway.reload_soon)
    settle()
    listening, ports, drain = gateway.document.listen, gateway.ports, document.drain
    bound = (replace(listening.http, port=ports.http.port), replace(listening.grpc, port=ports.grpc.port))
    _log.info("ready: http %s, grpc %s, admin %s", *bound, replace(listening.admin, port=ports.admin.port))
    await stopping.asked.wait()
    gateway.stopping = True
    await stopping.due(drain.notice)
    _log.info("stopping: requests in flight have %g s", drain.grace)
    await gateway.stop(stopping.cut_off)
    for number in (signal.SIGTERM, signal.SIGINT):  # another one, now, would turn an orderly end into a kill
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
