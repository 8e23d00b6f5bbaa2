"""Keeps the A/B tests of a gateway: gathers what its processes counted and were told, joins it by request id, adds it up.

    asked --counted in a rollout--> the journal, for a day
    told by a client --> joined to where its request stood, once --> its side's sum
                         └──not there: once more in the next rounds, for the process that answered may not have told of it yet

A rollout that was promoted or rolled back keeps what it has come to until another attempt has weight; another weight of the same
attempt begins at nothing, for sides at different weights are no one comparison.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from gateway.aside import Runner
from gateway.experiment.counts import Counted, Counts, Sums
from gateway.experiment.journal import Journal, Stood
from gateway.experiment.report import Report, report
from gateway.experiment.words import Gathered, Given, Hear, Hearsay
from gateway.kept_file import load, stored
from gateway.rollout.words import Key, Order
from gateway.spawner import rounds
from gateway.telemetry.rollouts import FeedbackNumbers
from routing.match import RouteTable
from routing.rollout.rolling import Rolling
from routing.rollout.rollout import ASKING

TICK = 0.5  # seconds from round to round
AGAIN = 3  # rounds in which what is not known yet is looked for
AT_ONCE = 200  # of what was told: 2 ms
FOREIGN = 9  # in place of a round: it comes from another gateway
PARCEL = 2_000  # of them that are handed on in a round
STORED = 10.0  # seconds from file to file
STORE_SECONDS = 5.0  # that a round waits for the folder
MOST = 20_000  # given that wait for a round
FILE = "experiments.msgpack"
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """What the file has. `name`: the gateway's among those of its store, the same after a restart."""

    counted: dict[str, Counted]
    name: str


class Joined(msgspec.Struct, frozen=True):
    """Something that was told of a request that was counted in an attempt. `value` from 0 to 1."""

    attempt: str
    metric: str
    stood: Stood
    value: float


@dataclass(frozen=True, slots=True)
class Ways:
    """What the rest is reached by: the policy's tables, how its rollouts stand, every process that serves, who bets on what was
    joined. `wall` tells seconds since 1970, `clock` those of a clock that goes on."""

    tables: Callable[[], Mapping[str, RouteTable]]
    orders: Callable[[], Sequence[Order]]
    gather: Callable[[], Awaitable[Sequence[Gathered]]]
    joined: Callable[[Key, Sequence[Joined]], None]
    wall: Callable[[], float]
    clock: Callable[[], float]
    hearsay: Hearsay | None = None  # where several gateways share a store


class Experiments:
    """One for all processes of a gateway."""

    def __init__(
        self, ways: Ways, folder: Path | None, run: Runner, numbers: FeedbackNumbers, journal: Journal | None = None
    ) -> None:
        self._ways = ways
        self._path, self._run = folder and folder / FILE, run
        self._numbers = numbers
        self._journal = Journal() if journal is None else journal
        kept = (self._path and load(self._path, Kept, "what was told of A/B tests begins at nothing")) or Kept({}, token_hex(8))
        self._kept: dict[Key, Counted] = {_key(name): each for name, each in kept.counted.items()}
        self._others: dict[Key, list[Sums]] = {}
        self._passed: list[Given] = []  # what others may know of
        self._hear = Hear(kept.name)
        self._counts: dict[Key, Counts] = {}
        self._attempts: dict[Key, str] = {}
        self._waiting: list[tuple[int, Given]] = []  # in how many rounds it was looked for
        self._turn = asyncio.Lock()
        self._stored, self._due = b"", 0.0

    async def keep(self) -> None:
        """Round after round, for ever."""
        await rounds(self.round, TICK, "the A/B tests")

    async def round(self) -> None:
        """Takes in what processes have."""
        async with self._turn:
            self._follow()
            if not self._rollings():
                return
            gathered = await self._ways.gather()
            now = self._ways.clock()
            keys = {attempt: key for key, attempt in self._attempts.items()}
            for noted in (noted for each in gathered for noted in each.noted):
                key = keys.get(noted.attempt)
                if key is not None:
                    self._journal.note(noted.attempt, noted.asked, now)
                    for asked in noted.asked:
                        self._counts[key].asked(Stood(asked.place, asked.weight))
            self._numbers.count("lost", sum(each.lost for each in gathered))
            heard = await self._heard()
            given = [*self._waiting, *((0, given) for each in gathered for given in each.given)]
            await self._join([*given, *((FOREIGN, each) for each in heard)], now)
            if now >= self._due:
                self._due = now + STORED
                await self.store()

    async def end(self) -> None:
        """Takes in what there still is, and writes it down: a restart goes on from here. Rounds may go on."""
        await self.round()
        await self.store()

    async def shown(self) -> list[Report]:
        """Every rollout of the policy in force of which clients may tell something."""
        await self.round()
        orders = {(order.model, order.stable): order for order in self._ways.orders()}
        return [
            report(key, rolling, orders.get(key), self._counts.get(key), self._others.get(key, ()))
            for key, rolling in sorted(self._rollings().items())
        ]

    async def store(self) -> None:
        """Writes it down, where there is a folder."""
        kept = Kept({"/".join(key): counts.kept() for key, counts in self._counts.items()}, self._hear.name)
        path, written = self._path, msgspec.msgpack.encode(kept) if self._path else b""
        if path is None or written == self._stored:
            return
        if await stored(path, kept, "what was told of A/B tests", self._run, STORE_SECONDS):
            self._stored = written

    def _rollings(self) -> dict[Key, Rolling]:
        tables = self._ways.tables()
        return {(name, each.stable): each for name, table in tables.items() for each in table.rollouts if each.feedback}

    def _follow(self) -> None:
        """The policy in force, and how its rollouts stand."""
        orders = {(order.model, order.stable): order for order in self._ways.orders()}
        for key, rolling in self._rollings().items():
            counts = self._counts.get(key)
            begins = self._begun(orders.get(key), counts.standing if counts is not None else self._kept.get(key))
            if begins is None and counts is not None and counts.feedback != rolling.feedback:
                begins = counts.kept()
            elif begins is None and counts is None:
                begins = self._kept.get(key)
            if begins is not None:
                self._counts[key] = Counts(begins, rolling.feedback, rolling.terms.sticky)
                self._attempts[key] = begins.attempt
                self._others.pop(key, None)

    def _begun(self, order: Order | None, standing: Counted | None) -> Counted | None:
        """What an attempt begins with that has another weight than what was counted until now; None where all goes on."""
        if order is None or order.state not in ASKING or not 0 < order.weight < 1:
            return None
        if standing is not None and (standing.attempt, standing.weight) == (order.attempt, order.weight):
            return None
        return Counted(order.attempt, order.weight, self._ways.wall())

    async def _heard(self) -> list[Given]:
        """What other gateways of the store were told and do not know. They are told the same, and what was added up here."""
        if self._ways.hearsay is None:
            return []
        passed, self._passed = self._passed[:PARCEL], self._passed[PARCEL:]
        plain = {key: counts for key, counts in self._counts.items() if not counts.sticky}
        counts = [(_name(each.standing), msgspec.msgpack.encode(each.sums())) for each in plain.values()]
        told = replace(self._hear, parcel=msgspec.msgpack.encode(passed) if passed else b"", counts=counts)
        heard = await self._ways.hearsay.hear(told)
        if heard is None:
            self._passed = [*passed, *self._passed]
            return []
        self._numbers.count("passed", len(passed))
        self._hear = replace(self._hear, last=heard.last)
        for key, others in zip(plain, heard.counts, strict=True):
            self._others[key] = list(_understood(others, Sums))
        return [each for parcel in _understood(heard.parcels, list[Given]) for each in parcel]

    async def _join(self, given: Sequence[tuple[int, Given]], now: float) -> None:
        """Requests get their turn in between: one of them takes some 10 µs."""
        self._waiting, joined = [], dict[Key, list[Joined]]()
        for index, (looked, each) in enumerate(given, 1):
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)
            found = self._joined(each, now, joined)
            if found == "unknown" and looked < AGAIN and len(self._waiting) < MOST:
                self._waiting.append((looked + 1, each))
            elif found == "unknown" and looked < FOREIGN and self._ways.hearsay is not None and len(self._passed) < MOST:
                self._passed.append(each)
            elif found != "unknown" or looked < FOREIGN:
                self._numbers.count(found)
        for key, several in joined.items():
            self._ways.joined(key, several)

    def _joined(self, given: Given, now: float, joined: dict[Key, list[Joined]]) -> str:
        """What became of it, in all tests that its request was counted in: the first word that is not `unknown`."""
        word = "metric"
        for key, counts in self._counts.items():
            bit = next((index for index, each in enumerate(counts.feedback) if each.metric == given.metric), None)
            if bit is None:
                continue
            value = counts.feedback[bit].read(given.value)
            if value is None:
                word = "value" if word == "metric" else word
                continue
            stood = self._journal.tell(self._attempts[key], (given.request, given.owner), bit, now)
            if isinstance(stood, Stood):
                found = counts.told(bit, value, stood)
                joined.setdefault(key, []).append(Joined(self._attempts[key], given.metric, stood, counts.scaled(bit, value)))
            else:
                found = stood
            word = found if word in ("metric", "value", "unknown") else word
        return word


def _understood(told: Sequence[bytes], kind: type[T]) -> Iterator[T]:
    """What a gateway of another version says in another way is left out."""
    for each in told:
        with suppress(msgspec.DecodeError):
            yield msgspec.msgpack.decode(each, type=kind)


def _name(standing: Counted) -> str:
    return f"{standing.attempt}/{standing.weight!r}"


def _key(name: str) -> Key:
    model, _, stable = name.partition("/")
    return model, stable
