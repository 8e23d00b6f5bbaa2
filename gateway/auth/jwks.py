"""Keeps an issuer's public keys at hand: fetched early, refreshed quietly, kept while the issuer is away.

One fetch at a time, whoever asks for it. It is started every 5 minutes (5 seconds after a failure), and by a token that names
an unknown key, at most once in 10 seconds, so that a storm of made-up key names costs the issuer nothing. Keys that were
good stay good for 24 hours without a successful fetch. A set that cannot be used (see jwk) counts as a failed fetch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.auth.jwk import VerifyKey, admit
from gateway.auth.settings import JwtIssuer, KeySourceError
from gateway.configuration.files import read_file

PERIOD = 300.0  # seconds between refreshes
RETRY = 5.0  # seconds after a failed one
UNKNOWN_PERIOD = 10.0  # seconds between fetches that unknown key names may cause
STALE = 24 * 3600.0  # seconds keys are trusted after the last good fetch
FETCH_SECONDS = 4.0  # the whole fetch, name lookup to last byte; below the 5 s in which a new key should be live
MAX_BYTES = 256 * 1024

Fetch = Callable[[], Awaitable[bytes]]
"""Gets the key set's bytes; raises KeySourceError."""
Spawn = Callable[[Coroutine[Any, Any, None], str], object]
"""Runs background work under a name until it ends or the process does."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, and waiting for some of them."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class IssuerKeys:
    """The keys of one issuer. `changed` is called when a key that could verify yesterday no longer may."""

    def __init__(self, issuer: JwtIssuer, fetch: Fetch, spawn: Spawn, clock: Clock, changed: Callable[[], None]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._spawn = spawn
        self._clock = clock
        self._changed = changed
        self._keys: dict[str, VerifyKey] = {}
        self._fetched_at = 0.0
        self._flight: asyncio.Future[None] | None = None
        self._unknown_after = clock.now()
        self._failing = False

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
        if self._flight is not None and not self._flight.done():
            await asyncio.shield(self._flight)  # it began before the keys were known to have changed
        self._failing = False
        await self.refresh()

    def start(self) -> None:
        """Begins the first fetch and the refreshes after it."""
        self._spawn(self._keep_fresh(self._fly_once()), f"jwks {self._issuer.issuer}")

    async def learn(self) -> bool:
        """Waits for the running fetch, or a new one if its time has come; False when it is too early to ask again."""
        if self._flight is None or self._flight.done():
            now = self._clock.now()
            if now < self._unknown_after:
                return False
            self._unknown_after = now + UNKNOWN_PERIOD
        await self.refresh()
        return True

    async def refresh(self) -> None:
        """Waits for one fetch to end, well or not. A caller that leaves does not stop it: it belongs to everybody."""
        await asyncio.shield(self._fly_once())

    def _fly_once(self) -> asyncio.Future[None]:
        if self._flight is None or self._flight.done():
            flight = asyncio.get_running_loop().create_future()
            self._spawn(self._fly(flight), f"jwks fetch {self._issuer.issuer}")
            self._flight = flight
        return self._flight

    async def _keep_fresh(self, flight: asyncio.Future[None]) -> None:
        while True:
            await asyncio.shield(flight)
            await self._clock.sleep(RETRY if self._failing else PERIOD)
            flight = self._fly_once()

    async def _fly(self, flight: asyncio.Future[None]) -> None:
        try:
            await self.take()
        except KeySourceError as error:
            if not self._failing:
                _log.warning("keys of %s could not be refreshed, keeping those known: %s", self._issuer.issuer, error)
            self._failing = True
        finally:
            if not flight.done():
                flight.set_result(None)

    def _take(self, keys: dict[str, VerifyKey]) -> None:
        gone = any(not key.same(keys.get(kid)) for kid, key in self._keys.items())
        if self._failing:
            _log.warning("keys of %s are fresh again", self._issuer.issuer)
        self._keys = keys
        self._fetched_at = self._clock.now()
        self._failing = False
        if gone:
            self._changed()


def fetcher(issuer: JwtIssuer) -> Fetch:
    """How this issuer's key set is had: over the network or from its file."""
    if issuer.is_url:
        return lambda: fetch_url(issuer.jwks)

    return lambda: read_key_file(Path(issuer.jwks))


async def read_key_file(path: Path) -> bytes:
    """The file's bytes, at most 256 KiB, read in a thread. Raises KeySourceError."""
    try:
        return await asyncio.to_thread(read_file, path, MAX_BYTES)
    except OSError as error:
        raise KeySourceError(f"cannot be read: {error.strerror}") from error


async def fetch_url(url: str, seconds: float = FETCH_SECONDS) -> bytes:
    """The body of a 200 answer, at most 256 KiB and `seconds` in all; redirects are not followed. Raises KeySourceError."""
    import aiohttp  # here, because it takes 13 MB that a gateway with key files never needs

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status != 200:
                raise KeySourceError(f"answered with status {response.status}")
            document = bytearray()
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > MAX_BYTES:
                    raise KeySourceError(f"larger than {MAX_BYTES} bytes")
            return bytes(document)
    except KeySourceError:
        raise
    except TimeoutError as error:
        raise KeySourceError(f"no answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise KeySourceError(f"cannot be fetched: {type(error).__name__}") from error
