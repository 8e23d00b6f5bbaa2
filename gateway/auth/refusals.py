"""The ways a credential is turned away, in fixed words that repeat nothing the client sent."""

from __future__ import annotations

from typing import Protocol

from backends.errors import ErrorKind, InferenceError

RETRY_SECONDS = 10.0


def refused(message: str, reason: str) -> InferenceError:
    """A 401: `reason` is the bounded word shown in X-Penstock-Error."""
    return InferenceError(ErrorKind.UNAUTHENTICATED, message, source="client", reason=reason)


class Learner(Protocol):
    """An issuer's keys, which may be asked to look for news."""

    @property
    def empty(self) -> bool:
        """True while no key of the issuer is known, so that nothing can be said about its tokens."""
        ...

    async def learn(self) -> bool:
        """Waits for a fetch if one is allowed now; False when it is too early to ask again."""
        ...


class KeyUnknown(InferenceError):
    """The token names a key we do not have: worth one look at the issuer, then a 401 (503 if no key is known at all)."""

    def __init__(self, keys: Learner) -> None:
        if keys.empty:
            super().__init__(
                ErrorKind.UNAVAILABLE,
                "the keys of the token's issuer could not be fetched yet: try again later",
                reason="issuer-unavailable",
                retry_after=RETRY_SECONDS,
            )
        else:
            super().__init__(
                ErrorKind.UNAUTHENTICATED,
                "the token is signed with a key its issuer does not publish: get a new token",
                source="client",
                reason="unknown-key",
            )
        self.keys = keys
