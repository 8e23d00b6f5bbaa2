"""Leads the rollouts of a gateway: gathers what its processes counted, decides, tells them, and writes down what it decided."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from gateway.aside import Runner
from gateway.reload.reloader import Reloader
from gateway.rollout.file import Kept, load, store
from gateway.rollout.report import Report, report
from gateway.rollout.rollouts import Key
from gateway.rollout.words import Order, Told
from gateway.shadow.report import Report as ShadowReport
from gateway.telemetry.rollouts import RolloutNumbers
from routing.match import RouteTable
from routing.rollout.rolling import Rolling
from routing.rollout.rollout import ASKING, Note, Rollout, Verb, command, judge, memory, observe, tick, warmed
from routing.rollout.seen import Seen

TICK = 0.5  # seconds from round to round: as long may a candidate go on that the evidence is against
STORE_SECONDS = 1.0  # that a round waits for the folder: one that hangs must not keep a candidate at its weight
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ways:
    """What a leader reaches the rest by: the policy's tables, every process that serves, its shadows' reports, the audit log.

    `wall` tells seconds since 1970; `noted` is given what happened to which rollout (model/stable).
    """

    tables: Callable[[], Mapping[str, RouteTable]]
    exchange: Callable[[Sequence[Order]], Awaitable[Sequence[Sequence[Told]]]]
    mirrors: Callable[[], Awaitable[Sequence[ShadowReport]]]
    noted: Callable[[str, Note], None]
    wall: Callable[[], float]


def leader_ways(
    policy: Reloader,
    exchange: Callable[[Sequence[Order]], Awaitable[Sequence[Sequence[Told]]]],
    mirrors: Callable[[], Awaitable[Sequence[ShadowReport]]],
) -> Ways:
    """Of a process that keeps the policy."""
    return Ways(lambda: policy.in_force.blueprint.tables, exchange, mirrors, policy.rolled, time.time)


class UnknownRolloutError(Exception):
    """There is no such rollout; the message names those that there are."""


class _Led:
    """One rollout as it stands. `fit`: why it waits, while it is warming."""

    def __init__(self, kept: Kept) -> None:
        self.definition = kept.definition
        self.rollout = kept.rollout
        self.seen: dict[str, Seen] = memory(kept.rollout, kept.known)
        self.waits = ""

    def kept(self) -> Kept:
        known = {name: dict(seen.known) for name, seen in self.seen.items() if len(seen)}  # written while these go on
        return Kept(self.definition, self.rollout, known)

    def begin(self, rollout: Rollout) -> None:
        """Another attempt: nothing of what was is evidence for it."""
        self.rollout, self.seen, self.waits = rollout, memory(rollout), ""


class Leader:
    """One for all processes of a gateway. Rollouts that the policy no longer has are kept as they stood, and not led."""

    def __init__(self, ways: Ways, folder: Path | None, run: Runner, numbers: RolloutNumbers) -> None:
        self._ways = ways
        self._folder, self._run = folder, run
        self._numbers = numbers
        self._led = {(each.rollout.model, each.rollout.stable): _Led(each) for each in load(folder)}
        self._turn = asyncio.Lock()
        self._stored: list[Kept] = []
        self._words: dict[Key, str] = {}
        self._follow()

    @property
    def orders(self) -> list[Order]:
        """How every rollout of the policy in force stands."""
        return [
            Order(*key, led.definition, led.rollout.id, led.rollout.state, led.rollout.weight)
            for key, led in self._in_force().items()
        ]

    async def keep(self) -> None:
        """Round after round, for ever. A defect in one is logged, and costs no other."""
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.round()
            except Exception:  # noqa: BLE001 - whatever it is, the candidate must go on being judged
                _log.exception("a round of the rollouts failed; the next one follows")

    async def round(self) -> None:
        """Takes in what was counted, decides, and has it obeyed at once."""
        async with self._turn:
            self._follow()
            if not self._in_force():
                return
            before = self.orders
            told = await self._ways.exchange(before)
            self._observe([each for process in told for each in process])
            self._warm(told)
            mirrors = await self._mirrors()
            for key, led in self._in_force().items():
                if led.rollout.state in ASKING:
                    self._became(led, tick(led.rollout, self._ways.wall(), mirrors.get(key, "")))
            if self.orders != before:
                self._observe([each for process in await self._ways.exchange(self.orders) for each in process])
            await self._store()

    async def shown(self) -> list[Report]:
        """Every rollout of the policy in force."""
        return [report(led.rollout, led.waits) for _, led in sorted(self._in_force().items())]

    async def act(self, key: Key, verb: Verb, who: str, why: str) -> Report:
        """Does what a person wants; it is obeyed and written down when this returns.

        Raises UnknownRolloutError, and INVALID for what cannot be now.
        """
        async with self._turn:
            self._follow()
            led = self._in_force().get(key)
            if led is None:
                there = ", ".join("/".join(each) for each in sorted(self._in_force())) or "none"
                raise UnknownRolloutError(f"the policy in force has no such rollout; there is {there}")
            rollout = led.rollout
            if verb == "start" and rollout.state == "rolled-back":
                rollout = _anew(rollout, self._rolling(key), rollout.attempt + 1)
            rollout = command(rollout, verb, who, self._ways.wall(), why and f"{who} said {verb}: {why}")
            if rollout.attempt != led.rollout.attempt:
                led.begin(replace(rollout, notes=led.rollout.notes))
            self._became(led, rollout)
            self._observe([each for process in await self._ways.exchange(self.orders) for each in process])
            await self._store()
            return report(led.rollout, led.waits)

    def _follow(self) -> None:
        """The policy in force: what is new waits to be started; what was edited begins anew, as another attempt."""
        self._numbers.gone()
        for key, rolling in self._rollings().items():
            led = self._led.get(key)
            if led is None:
                self._led[key] = _Led(Kept(rolling.definition, _anew(_blank(key, rolling), rolling, 1)))
            elif led.definition != rolling.definition:
                was = led.rollout
                led.definition = rolling.definition
                led.begin(_anew(replace(was, candidate=rolling.candidate.variant), rolling, was.attempt + 1))
                if was.weight:
                    _log.warning("rollout %s/%s: the policy was edited, attempt %d begins at no weight", *key, was.attempt + 1)
            self._numbers.weight(*key, self._led[key].rollout.weight)

    def _observe(self, told: Sequence[Told]) -> None:
        for each in told:
            led = self._led.get((each.model, each.stable))
            if led is not None and led.rollout.id == each.attempt and led.rollout.state in ASKING:
                led.rollout = observe(led.rollout, each.batch, led.seen)

    def _warm(self, told: Sequence[Sequence[Told]]) -> None:
        """A candidate is ready when every process has found it so; one that finds it unfit suffices."""
        for key, led in self._in_force().items():
            if led.rollout.state != "warming":
                continue
            found = [each for process in told for each in process if (each.model, each.stable) == key]
            found = [each for each in found if each.attempt == led.rollout.id]
            unfit = next((each.text for each in found if each.fitness == "unfit"), "")
            if unfit or (len(found) == len(told) and all(each.fitness == "fit" for each in found) and found):
                led.waits = ""
                self._became(led, warmed(led.rollout, self._ways.wall(), unfit))
            else:
                led.waits = next((each.text for each in found if each.fitness != "fit" and each.text), "")

    async def _mirrors(self) -> dict[Key, str]:
        """What shadows of the stable side to the candidate have found, where that is wanted."""
        asking = {
            key: led.rollout
            for key, led in self._in_force().items()
            if led.rollout.terms.proof == "mirror" and led.rollout.state in ASKING
        }
        if not asking:
            return {}
        shadows = {(each.model, each.of, each.to): each.verdict for each in await self._ways.mirrors()}
        return {key: shadows.get((*key, rollout.candidate), "") for key, rollout in asking.items()}

    def _became(self, led: _Led, rollout: Rollout) -> None:
        """Takes it over, and says what is new."""
        key, before, judged = (rollout.model, rollout.stable), {*led.rollout.notes}, led.rollout.state in ASKING
        led.rollout = rollout
        for note in rollout.notes:
            if note not in before:
                name = "/".join(key)
                _log.info("rollout %s: %s, now %s at %g%%: %s", name, note.what, note.state, 100 * note.weight, note.text)
                self._ways.noted(name, note)
        word = judge(rollout).word if judged else ""
        if word and word != self._words.get(key):
            self._numbers.verdict(*key, word)
        self._words[key] = word
        self._numbers.weight(*key, rollout.weight)

    async def _store(self) -> None:
        kept = [led.kept() for led in self._led.values()]
        if self._folder is None or kept == self._stored:
            return
        folder = self._folder
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._run(lambda: store(folder, kept))
            self._stored = kept
        except TimeoutError:
            _log.error("%s: does not answer; how rollouts stand is written down when it does", folder)
        except OSError as error:
            _log.error("%s: the state of rollouts cannot be written: %s", folder, error.strerror or error)

    def _rollings(self) -> dict[Key, Rolling]:
        return {(name, each.stable): each for name, table in self._ways.tables().items() for each in table.rollouts}

    def _rolling(self, key: Key) -> Rolling:
        return self._rollings()[key]

    def _in_force(self) -> dict[Key, _Led]:
        return {key: self._led[key] for key in self._rollings() if key in self._led}


def _blank(key: Key, rolling: Rolling) -> Rollout:
    return Rollout(*key, rolling.candidate.variant, rolling.terms)


def _anew(was: Rollout, rolling: Rolling, attempt: int) -> Rollout:
    """Of what was only its notes stay."""
    return Rollout(was.model, was.stable, rolling.candidate.variant, rolling.terms, attempt, notes=was.notes)
