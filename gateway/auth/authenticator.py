"""Turns a request's credential into a Principal, in microseconds when the same credential held before.

Exactly one credential: `Authorization: Bearer <JWT>` or `X-API-Key`; two are a 400, because two readers of the request could
believe different ones. A credential that does not hold is a 401 even where anonymous callers are welcome.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from backends.errors import InferenceError, invalid
from gateway.aside import alone
from gateway.auth.api_keys import ApiKeys, id_of, pepper_of
from gateway.auth.attempts import FailedAttempts
from gateway.auth.fetching import Handed
from gateway.auth.refusals import KeyUnknown, refused
from gateway.auth.settings import AuthSettings, KeySourceError
from routing.principal import ANONYMOUS, Principal

if TYPE_CHECKING:
    from gateway.auth.jwks import Clock, IssuerKeys, Spawn
    from gateway.auth.jwt import TokenVerifier

REMEMBERED = 8192  # credentials of each kind; about 4 MB when full
_log = logging.getLogger(__name__)


class Remembered:
    """Credentials that held, by their hash, each until it ends; the longest unused goes when there is no room."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self.generation = 0  # counts the times that everything was forgotten
        self._size = size
        self._held: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, digest: bytes, now: float) -> Principal | None:
        """The principal, unless the credential is new, has ended (wall seconds), or was forgotten."""
        found = self._held.get(digest)
        if found is None:
            return None
        if found[1] <= now:
            del self._held[digest]
            return None
        self._held.move_to_end(digest)
        return found[0]

    def keep(self, digest: bytes, principal: Principal, ends: float) -> None:
        """Remembers until `ends` (wall seconds)."""
        self._held[digest] = (principal, ends)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything: what held under the old keys must be shown again."""
        self._held.clear()
        self.generation += 1

    def standing(self, digest: bytes, principal: Principal) -> Standing | None:
        """Of a credential that holds, and is this principal's."""
        found = self._held.get(digest)
        return None if found is None or found[0] is not principal else Standing(self, found[1])


class Standing:
    """A credential that held: whether it still does, told without looking at it again."""

    __slots__ = ("_ends", "_generation", "_remembered")

    def __init__(self, remembered: Remembered, ends: float) -> None:
        self._remembered = remembered
        self._generation = remembered.generation
        self._ends = ends  # wall seconds

    def holds(self, now: float) -> bool:
        """At this wall time in seconds: it has not ended, and the keys that it held under are those that are trusted now."""
        return now < self._ends and self._remembered.generation == self._generation


class Authenticator:
    """Who is asking? `check` on every request; `authenticate` when it raised KeyUnknown."""

    def __init__(
        self,
        api_keys: ApiKeys | None = None,
        tokens: TokenVerifier | None = None,
        anonymous: bool = False,
        remembered: Remembered | None = None,
        issuers: Sequence[IssuerKeys] = (),
    ) -> None:
        self._attempts = FailedAttempts()
        self._api_keys = api_keys
        self._tokens = tokens
        self._anonymous = anonymous
        self._held_tokens = Remembered() if remembered is None else remembered
        self._held_keys = Remembered()
        self._anybody = Standing(Remembered(0), math.inf)
        self._issuers = issuers
        self._reloading = asyncio.Lock()

    def check(self, headers: Mapping[str, str], now_wall: float, peer: str = "") -> Principal:
        """The principal of these headers (lower-case names) at this wall time in seconds; `peer` is the client's address.

        Raises InferenceError: 400 for two credentials, 401 for none or one that does not hold (429 when it is one of many);
        KeyUnknown, which is one, when `authenticate` may know more.
        """
        authorization = headers.get("authorization")
        api_key = headers.get("x-api-key")
        if api_key is not None:
            if authorization is not None:
                raise invalid("send one credential, Authorization or X-API-Key, not both", "two-credentials")
            return self._by_api_key(api_key, now_wall, peer)
        if authorization is not None:
            return self._by_token(authorization, now_wall, peer)
        if self._anonymous:
            return ANONYMOUS
        raise refused("send a credential: Authorization: Bearer <JWT>, or X-API-Key", "no-credential")

    def standing(self, headers: Mapping[str, str], principal: Principal) -> Standing | None:
        """Of the credential in headers for which `check` gave this principal; None if it is not remembered, or gives another now:
        keys may have been had anew since.
        """
        api_key, authorization = headers.get("x-api-key"), headers.get("authorization")
        if api_key is not None:
            return self._held_keys.standing(_digest(api_key), principal)
        if authorization is not None:
            return self._held_tokens.standing(_digest(authorization), principal)
        return self._anybody

    async def authenticate(self, headers: Mapping[str, str], now_wall: float, peer: str = "") -> Principal:
        """As `check`, but waits for the issuer's keys, at most one short fetch, when the token's is not known."""
        try:
            return self.check(headers, now_wall, peer)
        except KeyUnknown as unknown:
            if not await unknown.keys.learn():
                raise
        return self.check(headers, now_wall, peer)

    def issuers(self) -> list[tuple[str, bool]]:
        """Every issuer, and whether its keys were had when they were last asked for."""
        return [(keys.name, keys.up) for keys in self._issuers]

    async def reload(self) -> None:
        """Has the key file and every issuer's keys again, each on its own: what cannot be had stays as it was and is logged."""
        await asyncio.gather(self._reload_api_keys(), *(keys.reload() for keys in self._issuers))

    async def _reload_api_keys(self) -> None:
        if self._api_keys is None:
            return
        async with self._reloading:  # else what was read first might be taken last
            try:
                await self._api_keys.reload()
            except KeySourceError as error:
                _log.error("API keys not taken, the old ones stay: %s", error)
            else:
                self._held_keys.clear()

    def _by_api_key(self, credential: str, now: float, peer: str) -> Principal:
        digest = _digest(credential)
        principal = self._held_keys.get(digest, now)
        if principal is None:
            if self._api_keys is None:
                raise refused("API keys are not accepted here", "bad-api-key")
            try:
                principal, ends = self._api_keys.verify(credential, now)
            except InferenceError as refusal:
                raise self._attempts.told(refusal, peer, id_of(credential)) from None
            self._held_keys.keep(digest, principal, ends)
        return principal

    def _by_token(self, authorization: str, now: float, peer: str) -> Principal:
        digest = _digest(authorization)
        principal = self._held_tokens.get(digest, now)
        if principal is None:
            scheme, _, token = authorization.encode("utf-8", "surrogatepass").partition(b" ")
            if self._tokens is None or scheme.lower() != b"bearer":
                raise refused("the Authorization header must be Bearer <JWT> of a trusted issuer", "bad-token")
            try:
                principal, ends = self._tokens.verify(token.strip(b" "), now)
            except KeyUnknown:  # not its last word
                raise
            except InferenceError as refusal:
                raise self._attempts.told(refusal, peer) from None
            self._held_tokens.keep(digest, principal, ends)
        return principal


def _digest(credential: str) -> bytes:
    return blake2b(credential.encode("utf-8", "surrogatepass")).digest()


async def build(
    settings: AuthSettings,
    spawn: Spawn,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
    handed: Handed = Handed(),  # noqa: B008 - frozen
) -> Authenticator:
    """The authenticator these settings describe: key files are read, fetches are begun but not waited for.

    `spawn(coroutine, name)` runs background work and ends it with the process. Raises KeySourceError for a file that cannot be
    used; an issuer that cannot be reached is only logged, and asked again.
    """
    api_keys = None
    if settings.api_keys is not None:
        api_keys = await alone(partial(ApiKeys, settings.api_keys, pepper_of(environ)))
    held = Remembered()
    tokens = None
    issuers: list[IssuerKeys] = []
    if settings.jwt:
        tokens, issuers = await _trust(settings, spawn, clock, held.clear, handed)
    return Authenticator(api_keys, tokens, settings.anonymous, held, issuers)


async def _trust(
    settings: AuthSettings, spawn: Spawn, clock: Clock | None, changed: Callable[[], None], handed: Handed
) -> tuple[TokenVerifier, list[IssuerKeys]]:
    from gateway.auth import (
        fetching,
        jwks,
        jwt,
    )  # here, because cryptography takes 8 MB that a gateway with API keys only never needs

    trusted, sources = {}, []
    for issuer in settings.jwt:
        keys = jwks.IssuerKeys(issuer, fetching.fetcher(issuer), spawn, clock or jwks.Clock(), changed)
        keys.know(handed.known.get(issuer.issuer))
        keys.taken = handed.tell
        if not issuer.is_url:
            try:
                await keys.take()
            except KeySourceError:
                if keys.empty:
                    raise
        sources.append(keys)
        trusted[issuer.issuer] = jwt.TrustedIssuer(issuer.audience, issuer.algorithms, keys)
    for keys in sources:
        keys.start()
    return jwt.TokenVerifier(trusted, settings.claims), sources
