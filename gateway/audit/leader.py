"""Judges the audits of a gateway: gathers what its processes saw, raises the alarm, tells them who falls, and writes it down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from gateway.aside import Runner
from gateway.audit.audits import Key, audited
from gateway.audit.report import Report, Standing, report
from gateway.audit.words import Order, Told
from gateway.kept_file import load, stored
from gateway.spawner import rounds
from gateway.telemetry.audits import AuditNumbers
from routing.cascade.audits import Audit
from routing.cascade.watch import Watch, observe
from routing.match import RouteTable
from routing.plan import Target

TICK = 0.5  # seconds from round to round
STORE_SECONDS = 1.0  # that a round waits for the folder
FILE = "audits.msgpack"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ways:
    """What it reaches the rest by: the policy's tables, every process that serves, the audit log, seconds since 1970.

    `noted` is given which cascade (model/route), what happened, by whom, and why.
    """

    tables: Callable[[], Mapping[str, RouteTable]]
    exchange: Callable[[Sequence[Order]], Awaitable[Sequence[Sequence[Told]]]]
    noted: Callable[[str, str, str, str], None]
    wall: Callable[[], float]


class UnknownAuditError(Exception):
    """There is no such audit; the message names those that there are."""


class Auditor:
    """One for all processes of a gateway. What is no longer audited is forgotten, and an audit by other rules begins anew."""

    def __init__(self, ways: Ways, folder: Path | None, run: Runner, numbers: AuditNumbers) -> None:
        self._ways = ways
        self._path = None if folder is None else folder / FILE
        self._run = run
        self._numbers = numbers
        kept = self._path and load(self._path, list[Standing], "audits begin anew, and no cascade has fallen")
        self._standings = {(each.model, each.route): each for each in kept or ()}
        self._audits: dict[Key, tuple[Audit, Target]] = {}
        self._turn = asyncio.Lock()
        self._stored = list(self._standings.values())
        self._follow()

    @property
    def orders(self) -> list[Order]:
        """How every audited cascade of the policy in force is answered."""
        return [
            Order(*key, standing.epoch, bool(standing.alarm) and self._audits[key][0].falls)
            for key, standing in self._standings.items()
        ]

    async def keep(self) -> None:
        """Round after round, for ever."""
        await rounds(self.round, TICK, "the audits")

    async def round(self) -> None:
        """Takes in what was seen, judges, and has it obeyed at once."""
        async with self._turn:
            self._follow()
            if self._standings:
                await self._gather()
            await self._store()

    async def shown(self) -> list[Report]:
        """Every audited cascade of the policy in force, as of now."""
        await self.round()
        return [self._report(key) for key in sorted(self._standings)]

    async def resume(self, key: Key, who: str, why: str) -> Report:
        """Ends the alarm: the cascade answers again, and its audit begins anew. Raises UnknownAuditError."""
        async with self._turn:
            self._follow()
            if key not in self._standings:
                there = ", ".join("/".join(each) for each in sorted(self._standings)) or "none"
                raise UnknownAuditError(f"the policy in force audits no such cascade; there is {there}")
            before = self._report(key)
            self._standings[key] = self._blank(key)
            self._say(key, "resume", who, f"was {before.state}, {before.text}" + (f"; {why}" if why else ""))
            await self._ways.exchange(self.orders)  # what was seen until now belongs to before
            await self._store()
            return self._report(key)

    def _follow(self) -> None:
        """The policy in force."""
        self._audits = {key: (audit, target) for key, audit, target in audited(self._ways.tables())}
        standings = {}
        for key, (audit, _) in self._audits.items():
            known = self._standings.get(key)
            standings[key] = known if known is not None and known.epoch == audit.epoch else self._blank(key)
            if known is not None and known is not standings[key] and known.alarm:
                _log.info("audit %s/%s: the policy was edited, it begins anew", *key)
        self._standings = standings
        self._count()

    async def _gather(self) -> None:
        before = self.orders
        for told in await self._ways.exchange(before):
            for each in told:
                self._take(each)
        if self.orders != before:
            await self._ways.exchange(self.orders)
        self._count()

    def _take(self, told: Told) -> None:
        key = told.model, told.route
        standing = self._standings.get(key)
        if standing is None or standing.epoch != told.epoch:
            return
        audit, _ = self._audits[key]
        watch = observe(standing.watch, audit.most, told.seen)
        seen = dict(standing.seen)
        for word, count in told.outcomes.items():
            seen[word] = seen.get(word, 0) + count
        new = replace(standing, watch=watch, seen=seen, cost=standing.cost + told.cost)
        if watch.alarm and not standing.alarm:
            new = replace(new, alarm=self._ways.wall())
            self._standings[key] = new
            self._say(key, "alarm", "penstock", self._report(key).text)
        self._standings[key] = new

    def _say(self, key: Key, what: str, who: str, text: str) -> None:
        name = "/".join(key)
        _log.log(logging.WARNING if what == "alarm" else logging.INFO, "audit %s: %s: %s", name, what, text)
        self._ways.noted(name, what, who, text)

    def _count(self) -> None:
        self._numbers.clear()
        for key in self._standings:
            found = self._report(key)
            self._numbers.stands(key, found.rate, found.promised, found.state)

    def _blank(self, key: Key) -> Standing:
        return Standing(*key, self._audits[key][0].epoch, self._ways.wall(), Watch())

    def _report(self, key: Key) -> Report:
        audit, dear = self._audits[key]
        return report(self._standings[key], audit, dear.variant)

    async def _store(self) -> None:
        kept, path = list(self._standings.values()), self._path
        if path is None or kept == self._stored:
            return
        if await stored(path, kept, "the state of audits", self._run, STORE_SECONDS):
            self._stored = kept
