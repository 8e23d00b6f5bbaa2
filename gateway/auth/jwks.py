"""Keeps an issuer's public keys at hand: fetched early, refreshed quietly, kept while the issuer is away.

One fetch at a time, whoever asks for it. It is started every 5 minutes, and by a token that names an unknown key or whose
signature does not hold: a new key may have the old one's name, or neither has one. What strangers may so cause is bounded by a
bucket: on the average one fetch in 10 seconds, 4 at once saved up, and 4 seconds between any two. So a key that is new is live
at its first token, or 4 seconds later if a stranger came just before, through the first half minute of a storm of made-up
names; if it goes on, the two wishes exclude each other, and the issuer is spared: 10 seconds. A failed fetch is repeated every
10 seconds out of the same bucket, so that no more than that is ever asked of an issuer.

Keys that were good stay good for 24 hours without a successful fetch. A set that cannot be used (see jwk) counts as a failed
fetch, and so does one without any usable key: DECISIONS.md says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.auth.fetching import Fetch
from gateway.auth.jwk import KeySet, VerifyKey, admit
from gateway.auth.settings import JwtIssuer, KeySourceError
from routing.gcra import Conformity, gcra

PERIOD = 300.0  # seconds between refreshes
RETRY = 10.0  # seconds after a failed one
UNKNOWN_PERIOD = 10.0  # seconds that each fetch for an unknown key name costs the bucket
UNKNOWN_BURST = 4  # fetches saved up
UNKNOWN_GAP = 4.0  # seconds between two such fetches, so that a storm does not use up in a moment what is saved
WAITING = 512  # requests that may wait for one fetch, each with its body in memory; the others are refused at once
STALE = 24 * 3600.0  # seconds keys are trusted after the last good fetch
Spawn = Callable[[Coroutine[Any, Any, None], str], object]
"""Runs background work under a name until it ends or the process does."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, and waiting for some of them."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class IssuerKeys:
    """The keys of one issuer. `changed` is called when a key that could verify before no longer may."""

    def __init__(self, issuer: JwtIssuer, fetch: Fetch, spawn: Spawn, clock: Clock, changed: Callable[[], None]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._spawn = spawn
        self._clock = clock
        self._changed = changed
        self._keys: dict[str, VerifyKey] = {}
        self._left_out: tuple[str, ...] = ()
        self._fetched_at = 0.0
        self._flight: asyncio.Future[None] | None = None
        self._waiting = 0
        self._bucket = self._gap_ends = clock.now()
        self._failing = self._said = False  # the last fetch was in vain; and the log says so

    @property
    def name(self) -> str:
        """The issuer's."""
        return self._issuer.issuer

    @property
    def up(self) -> bool:
        """Whether the last fetch brought keys."""
        return not self._failing and not self.empty

    @property
    def empty(self) -> bool:
        """True while no key is known, or all are too old to be trusted."""
        return not self._keys or self._clock.now() - self._fetched_at > STALE

    def find(self, algorithm: str, kid: str | None) -> VerifyKey | None:
        """The key of that name for that algorithm; without a name, the only key for the algorithm."""
        if self.empty:
            return None
        if kid is None:
            fitting = [key for key in self._keys.values() if key.algorithm == algorithm]
            return fitting[0] if len(fitting) == 1 else None
        key = self._keys.get(kid)
        return key if key is not None and key.algorithm == algorithm else None

    async def take(self) -> None:
        """Fetches the set and takes it into use. Raises KeySourceError, and keeps what there was, when it cannot be used."""
        try:
            self._take(admit(await self._fetch(), self._issuer.algorithms))
        except KeySourceError as error:
            raise KeySourceError(f"{self._issuer.jwks}: {error}") from error

    async def reload(self) -> None:
        """Waits for a fetch that begins now. What cannot be used leaves the keys as they are and is logged, however often."""
        if self._flying:
            await self.refresh()  # it began before the keys were known to have changed
        self._said = False
        await self.refresh()

    def start(self) -> None:
        """Begins the first fetch and the refreshes after it."""
        self._spawn(self._keep_fresh(self._fly_once()), f"jwks {self._issuer.issuer}")

    def may_learn(self) -> bool:
        """Whether an unknown name is worth waiting for: a fetch is under way and has room for one more, or may begin."""
        if self._flying:
            return self._waiting < WAITING
        return self._clock.now() >= self._gap_ends and self._pour().allowed

    def begin(self) -> bool:
        """Begins a fetch for an unknown name unless one is under way; False when it is too early to ask, or too many wait."""
        if not self.may_learn():
            return False
        if not self._flying:
            self._bucket, self._gap_ends = self._pour().tat, self._clock.now() + UNKNOWN_GAP
            self._fly_once()
        return True

    async def learn(self) -> bool:
        """Waits for the fetch that `begin` allows; False when it does not."""
        if not self.begin():
            return False
        self._waiting += 1
        try:
            await self.refresh()
        finally:
            self._waiting -= 1
        return True

    @property
    def _flying(self) -> bool:
        return self._flight is not None and not self._flight.done()

    def _pour(self) -> Conformity:
        return gcra(self._bucket, self._clock.now(), 1, UNKNOWN_PERIOD, UNKNOWN_BURST)

    async def refresh(self) -> None:
        """Waits for one fetch to end, well or not. A caller that leaves does not stop it: it belongs to everybody."""
        await asyncio.shield(self._fly_once())

    def _fly_once(self) -> asyncio.Future[None]:
        flight = self._flight
        if flight is None or flight.done():
            self._flight = flight = asyncio.get_running_loop().create_future()
            self._spawn(self._fly(flight), f"jwks fetch {self._issuer.issuer}")
        return flight

    async def _keep_fresh(self, flight: asyncio.Future[None]) -> None:
        while True:
            await asyncio.shield(flight)
            await self._clock.sleep(RETRY if self._failing else PERIOD)
            bucket = self._pour()
            if bucket.allowed or not self._failing:  # else strangers have just had it fetched, in vain
                self._bucket = bucket.tat
                flight = self._fly_once()

    async def _fly(self, flight: asyncio.Future[None]) -> None:
        try:
            await self.take()
        except KeySourceError as error:
            if not self._said:
                _log.warning("keys of %s could not be refreshed, keeping those known: %s", self._issuer.issuer, error)
            self._failing = self._said = True
            if self._keys and self.empty:  # too old: what they verified and somebody remembers is so, too
                self._keys = {}
                self._changed()
        finally:
            if not flight.done():
                flight.set_result(None)

    def _take(self, found: KeySet) -> None:
        gone = any(not key.same(found.keys.get(kid)) for kid, key in self._keys.items())
        if self._failing:
            _log.warning("keys of %s are fresh again", self._issuer.issuer)
        if found.left_out and found.left_out != self._left_out:
            _log.info("keys of %s that verify nothing here: %s", self._issuer.issuer, "; ".join(found.left_out))
        self._keys, self._left_out = found.keys, found.left_out
        self._fetched_at = self._clock.now()
        self._failing = self._said = False
        if gone:
            self._changed()
