"""Has several gateways lead a rollout together: each adds what it counted to one page in the store, and decides by all of it.

    look --its counts, the time, what a person wants--> the next page --written if nobody has since--> in force here
                                                            └──another was first──> look

Nobody leads, so nobody has to be replaced. Pages follow from each other, so all counts come in one order, which is what makes the
bets on them a fair game. Each gateway numbers what it sends, and the page says up to which number it has been taken in: a write
of which nobody knows whether it came through is repeated or dropped by that, never taken in twice.

A store that has lost a page is given it again by whoever remembers it, on a new line. Counts that were sent in another line are
dropped: they may have been taken in. That costs evidence, and no verdict becomes wrong, for it does not hang on what they say.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import secrets
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from gateway.rollout.led import Change, Counts, Led, anew, untold
from gateway.rollout.words import Key, Look, Page, Pages, Presence, There, Write
from routing.rollout.rolling import Rolling
from routing.rollout.rollout import ASKING, Rollout, memory, observe
from routing.rollout.seen import Seen
from routing.rollout.tally import DRAWN, Batch

_log = logging.getLogger(__name__)
TRIES = 10
PAUSE = 0.03  # seconds at most, by chance, after another was first
MOST = 256  # gateways whose numbers are remembered, those that wrote last
Settled = Literal["done", "busy", "away", "elsewhere"]
Became = Callable[[Led, Rollout, bool], None]
"""Takes over what a rollout is now; whether this gateway has made it so."""


class Shared:
    """One gateway's part. `name` is its own, another after each start."""

    def __init__(self, pages: Pages, name: str, became: Became) -> None:
        self._pages = pages
        self._name = name
        self._became = became

    async def settle(self, key: Key, led: Led, rolling: Rolling, change: Change) -> Settled:
        """Shares what was counted here and makes the change. `busy`: others were always first; `elsewhere`: they go by another
        policy. Raises INVALID as the change does."""
        name = hashlib.blake2b("/".join(key).encode(), digest_size=16).hexdigest()
        for _ in range(TRIES):
            here = msgspec.msgpack.encode(led.present)
            there = await self._pages.look(Look(name, self._name, here, led.line, led.version, led.offset))
            written, line = None, None
            try:
                line = None if there is None else self._follow(led, there, rolling)
            except (msgspec.DecodeError, struct.error, IndexError) as error:
                _log.error("rollout %s: what the store has of it makes no sense: %s", "/".join(key), error)
            if there is not None and line is not None:
                if led.elsewhere:
                    return "elsewhere"
                written = await self._changed(led, name, there, line, change)
            if written is None:
                led.go_alone()
                return "away"
            if written:
                return "done"
            await asyncio.sleep(PAUSE * random.random())
        return "busy"

    def _follow(self, led: Led, there: There, rolling: Rolling) -> str | None:
        """Takes over what is there; the line that the next page belongs to, None where it is not of this rollout."""
        led.alone, led.elsewhere, led.gateways = None, False, tuple(sorted(there.gateways))
        if not there.line or (there.line == led.line and there.version < led.version):  # the store has lost it
            led.sent = None
            return secrets.token_hex(8)
        page = msgspec.msgpack.decode(there.page, type=Page) if there.page else led.page
        assert page is not None, "what it does not send was read before"
        if page.definition != led.definition:
            led.sent = led.waiting = None
            led.elsewhere = any(each.definition == page.definition for each in _present(there, self._name))
            if not led.elsewhere:
                led.begin(anew(page.rollout, rolling, page.rollout.attempt + 1))
            return secrets.token_hex(8)
        if page.rollout.terms != rolling.terms or not 0 <= page.rollout.step < len(rolling.terms.steps):
            _log.error("rollout %s/%s: what the store has is of another", led.rollout.model, led.rollout.stable)
            return None
        if there.page:
            another = page.rollout.id != led.rollout.id
            self._became(led, page.rollout, False)
            if another:
                led.begin(page.rollout)
        led.learn(there.units)
        led.page, led.line, led.version, led.offset = page, there.line, there.version, there.offset + len(there.units)
        if led.sent is not None and (led.sent.line != there.line or page.applied.get(self._name) == led.sent.number):
            led.sent = None
        return there.line

    async def _changed(self, led: Led, name: str, there: There, line: str, change: Change) -> bool | None:
        """Whether the change stands in the store; None where nobody knows."""
        before, counts = led.rollout, self._counts(led, line)
        learned = _places(before, led.seen, counts.batch) if counts is not None else []
        kept = False
        try:
            rollout = before if counts is None else observe(before, counts.batch, led.seen)
            after = change(rollout, there.moment, [each for each in _present(there) if each.definition == led.definition])
            if counts is None and line == there.line and untold(before, after):
                return True
            if after.attempt != before.attempt:
                line, units = secrets.token_hex(8), b""
            else:
                places = {(place, at) for place, at, _ in learned if at in led.seen[place].known}
                units = led.units(places if line == there.line else None)
            page = Page(led.definition, after, self._applied(led, counts))
            version = max(there.version, led.version) + 1
            write = Write(name, (there.line, there.version), line, version, msgspec.msgpack.encode(page), units)
            written = await self._pages.write(write)
            kept = bool(written)
        finally:
            if not kept:
                for metric, at, known in learned:
                    led.seen[metric].forget(at, known)
        if kept:
            offset = led.offset if line == there.line else 0
            if after.attempt != before.attempt:
                led.seen = memory(after)
            led.page, led.line, led.version, led.offset = page, line, version, offset + len(units)
            led.sent = None
            self._became(led, after, True)
        return written

    def _counts(self, led: Led, line: str) -> Counts | None:
        """What is to be taken in: what was sent before, if that has to be repeated."""
        if led.rollout.state not in ASKING:
            led.sent = led.waiting = None
        elif led.sent is None and led.waiting is not None:
            led.number += 1
            led.sent, led.waiting = Counts(led.number, line, led.waiting), None
        return led.sent

    def _applied(self, led: Led, counts: Counts | None) -> Mapping[str, int]:
        applied = dict(led.page.applied) if led.page is not None else {}
        if counts is not None:
            applied.pop(self._name, None)
            applied[self._name] = counts.number
        return dict(list(applied.items())[-MOST:])


def _present(there: There, but: str = "") -> list[Presence]:
    """What the gateways that are there find, one of them left out. Who says it in other words (a later version) is not heard."""
    found = []
    for name, told in there.gateways.items():
        if name != but:
            with suppress(msgspec.DecodeError):
                found.append(msgspec.msgpack.decode(told, type=Presence))
    return found


def _places(rollout: Rollout, seen: Mapping[str, Seen], batch: Batch) -> list[tuple[str, float, float | None]]:
    """The units that a batch names, by metric, and what was known of them before."""
    names = ["" if each.metric == DRAWN else rollout.terms.metrics[each.metric].name for each in batch.reveals]
    pairs = dict.fromkeys((name, each.place) for name, each in zip(names, batch.reveals, strict=True))
    return [(name, place, seen[name].known.get(place)) for name, place in pairs]
