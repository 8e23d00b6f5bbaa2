"""Leads the rollouts of a gateway: gathers what its processes counted, decides, tells them, and writes down what it decided."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from backends.errors import InferenceError
from gateway.aside import Runner
from gateway.kept_file import stored
from gateway.rollout.file import FILE, Kept, load
from gateway.rollout.led import Change, Led, anew, moved
from gateway.rollout.report import Report, report
from gateway.rollout.shared import Settled, Shared
from gateway.rollout.words import Fitness, Key, Later, Order, Pages, Presence, Told
from gateway.shadow.report import Report as ShadowReport
from gateway.spawner import rounds
from gateway.telemetry.rollouts import RolloutNumbers
from routing.match import RouteTable
from routing.rollout.betting import UNMEASURED
from routing.rollout.rolling import Rolling
from routing.rollout.rollout import ASKING, Note, Rollout, Verb, command, judge
from routing.rollout.tally import Tally

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
    pages: Pages | None = None  # where several gateways share them


class UnknownRolloutError(Exception):
    """There is no such rollout; the message names those that there are."""


class AwayError(Exception):
    """Nobody can do it now; the message says why, and what to do."""


class Leader:
    """One for all processes of a gateway. Rollouts that the policy no longer has are kept as they stood, and not led."""

    def __init__(self, ways: Ways, folder: Path | None, run: Runner, numbers: RolloutNumbers) -> None:
        self._ways = ways
        self._folder, self._run = folder, run
        self._numbers = numbers
        self._led = {(each.rollout.model, each.rollout.stable): Led(each) for each in load(folder)}
        self._turn = asyncio.Lock()
        self._stored: list[Kept] = []
        self._words: dict[Key, str] = {}
        self.name = f"{socket.gethostname()}/{secrets.token_hex(4)}"
        self._shared = None if ways.pages is None else Shared(ways.pages, self.name, self._became)
        self._follow()

    @property
    def orders(self) -> list[Order]:
        """How every rollout of the policy in force stands."""
        return [
            Order(*key, led.definition, led.rollout.id, led.rollout.state, led.weight) for key, led in self._in_force().items()
        ]

    async def keep(self) -> None:
        """Round after round, for ever."""
        await rounds(self.round, TICK, "the rollouts")

    async def round(self) -> None:
        """Takes in what was counted, decides, and has it obeyed at once."""
        async with self._turn:
            self._follow()
            if not self._in_force():
                return
            before = self.orders
            told = await self._ways.exchange(before)
            self._observe([each for process in told for each in process])
            mirrors = await self._mirrors()
            for key, led in self._in_force().items():
                led.present = _present(key, led, told, mirrors.get(key, ""))
                await self._settle(key, led, led.wish or moved)
                self._numbers.weight(*key, led.weight)
            if self.orders != before:
                self._observe([each for process in await self._ways.exchange(self.orders) for each in process])
            await self._store()

    async def shown(self) -> list[Report]:
        """Every rollout of the policy in force."""
        return [report(led) for _, led in sorted(self._in_force().items())]

    async def act(self, key: Key, verb: Verb, who: str, why: str) -> Report:
        """Does what a person wants; it is obeyed and written down when this returns.

        Raises UnknownRolloutError, INVALID for what cannot be, and AwayError for what cannot be now.
        """
        async with self._turn:
            self._follow()
            led = self._in_force().get(key)
            if led is None:
                there = ", ".join("/".join(each) for each in sorted(self._in_force())) or "none"
                raise UnknownRolloutError(f"the policy in force has no such rollout; there is {there}")

            def done(rollout: Rollout, now: float, present: Sequence[Presence]) -> Rollout:
                if verb == "start" and rollout.state == "rolled-back":
                    rollout = anew(rollout, self._rollings()[key], rollout.attempt + 1)
                return command(rollout, verb, who, now, why and f"{who} said {verb}: {why}")

            match await self._settle(key, led, done):
                case "away" if verb == "rollback":
                    done(led.rollout, self._ways.wall(), ())  # raises where it cannot be
                    led.wish = _wished(done)
                    _log.warning("rollout %s/%s: %s said rollback: this gateway obeys, others when the store is back", *key, who)
                case "away" | "busy":
                    raise AwayError("the store is away, so no other gateway would hear of it: try again; rollback is obeyed here")
                case "elsewhere":
                    raise AwayError("other gateways still go by another policy, and this one waits until they have its own")
            self._observe([each for process in await self._ways.exchange(self.orders) for each in process])
            await self._store()
            return report(led)

    def heard(self, key: Key, told: Sequence[Later]) -> None:
        """What clients have told of requests; from the next round on it is evidence where a guard watches that."""
        led = self._in_force().get(key)
        if led is None:
            return
        metrics = led.rollout.terms.metrics
        tally = Tally(metrics, led.rollout.terms.sticky)
        for each in told:
            if each.attempt == led.rollout.id and any(each.metric == metric.name for metric in metrics):
                cells = [int(each.happened) if metric.name == each.metric else UNMEASURED for metric in metrics]
                tally.saw(each.place, each.weight, cells)
        led.count(tally.take(), self._shared is not None)

    def _follow(self) -> None:
        """The policy in force: what is new waits to be started; what was edited begins anew, as another attempt."""
        self._numbers.gone()
        for key, rolling in self._rollings().items():
            led = self._led.get(key)
            if led is None:
                self._led[key] = Led(Kept(rolling.definition, _blank(key, rolling)))
            elif led.definition != rolling.definition:
                was = led.rollout
                led.definition = rolling.definition
                led.begin(anew(was, rolling, was.attempt + 1))
                if was.weight:
                    _log.warning("rollout %s/%s: the policy was edited, attempt %d begins at no weight", *key, was.attempt + 1)
            led = self._led[key]
            self._numbers.weight(*key, led.weight)
            for note in led.rollout.notes[-1:]:
                self._numbers.note(key, note.what, note.text, note.at)

    def _observe(self, told: Sequence[Told]) -> None:
        for each in told:
            led = self._led.get((each.model, each.stable))
            if led is not None and led.rollout.id == each.attempt:
                led.count(each.batch, self._shared is not None)

    async def _settle(self, key: Key, led: Led, change: Change) -> Settled:
        """Makes the change, if there are several gateways with all of them. Raises INVALID as it does."""
        if self._shared is None:
            self._became(led, change(led.rollout, self._ways.wall(), [led.present]), True)
            return "done"
        settled = await self._shared.settle(key, led, self._rollings()[key], change)
        if settled in ("done", "elsewhere"):
            led.wish = None
        return settled

    async def _mirrors(self) -> dict[Key, str]:
        """What shadows of the stable side to the candidate have found, where that is wanted."""
        asking = {
            key: led.rollout
            for key, led in self._in_force().items()
            if led.rollout.terms.proof == "mirror" and led.rollout.state in ASKING
        }
        if not asking:
            return {}
        found: dict[tuple[str, str, str], set[str]] = {}
        for each in await self._ways.mirrors():
            found.setdefault((each.model, each.of, each.to), set()).add(each.verdict)
        return {key: _together(found.get((*key, rollout.candidate), set())) for key, rollout in asking.items()}

    def _became(self, led: Led, rollout: Rollout, own: bool) -> None:
        """Takes it over, and says what is new; a verdict is counted by whose own decision it is."""
        key, before, judged = (rollout.model, rollout.stable), {*led.rollout.notes}, led.rollout.state in ASKING
        told = own or led.page is not None  # what was before this gateway came others have said
        if rollout.attempt != led.rollout.attempt:
            led.begin(rollout)
        led.rollout = rollout
        for note in rollout.notes:
            if told and note not in before:
                name = "/".join(key)
                _log.info("rollout %s: %s, now %s at %g%%: %s", name, note.what, note.state, 100 * note.weight, note.text)
                self._ways.noted(name, note)
        word = judge(rollout).word if judged else ""
        if own and word and word != self._words.get(key):
            self._numbers.verdict(*key, word)
        self._words[key] = word
        self._numbers.weight(*key, led.weight)

    async def _store(self) -> None:
        kept = [led.kept() for led in self._led.values()]
        if self._folder is None or kept == self._stored:
            return
        if await stored(self._folder / FILE, kept, "the state of rollouts", self._run, STORE_SECONDS):
            self._stored = kept

    def _rollings(self) -> dict[Key, Rolling]:
        return {(name, each.stable): each for name, table in self._ways.tables().items() for each in table.rollouts}

    def _in_force(self) -> dict[Key, Led]:
        return {key: self._led[key] for key in self._rollings() if key in self._led}


def _blank(key: Key, rolling: Rolling) -> Rollout:
    return Rollout(*key, rolling.candidate.variant, rolling.terms)


def _present(key: Key, led: Led, told: Sequence[Sequence[Told]], mirror: str) -> Presence:
    """What this gateway finds, which is what all its processes do."""
    found = [each for process in told for each in process if (each.model, each.stable) == key]
    found = [each for each in found if each.attempt == led.rollout.id]
    fitness: Fitness = "waiting"
    text = next((each.text for each in found if each.fitness != "fit" and each.text), "")
    if unfit := next((each.text for each in found if each.fitness == "unfit"), ""):
        fitness, text = "unfit", unfit
    elif found and len(found) == len(told) and all(each.fitness == "fit" for each in found):
        fitness = "fit"
    led.waits = text if led.rollout.state == "warming" else ""
    return Presence(led.definition, led.rollout.id, fitness, text, mirror)


def _together(verdicts: Set[str]) -> str:
    """Of several shadows of one pair: different if one says so, the same if one does and none the contrary."""
    return next((word for word in ("different", "same") if word in verdicts), "")


def _wished(done: Change) -> Change:
    """What a person wanted while the store was away, and then what happens by itself; others may have done it meanwhile."""

    def wished(rollout: Rollout, now: float, present: Sequence[Presence]) -> Rollout:
        try:
            return done(rollout, now, present)
        except InferenceError:
            return moved(rollout, now, present)

    return wished
