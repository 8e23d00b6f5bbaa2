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

    def may_learn(self) -> bool:
        """Whether a fetch is under way or allowed now."""
        ...

    def begin(self) -> bool:
        """Begins that fetch; False when it is not allowed now."""
        ...

    async def learn(self) -> bool:
        """As `begin`, and waits for its end."""
        ...


class KeyUnknown(InferenceError):
    """The token's key is not one that we have, and the issuer may be asked for news: worth one look, then it is what it says."""

    def __init__(self, refusal: InferenceError, keys: Learner) -> None:
        told = (refusal.kind, refusal.message)
        super().__init__(*told, source=refusal.source, reason=refusal.reason, retry_after=refusal.retry_after)
        self.keys = keys


def key_unknown(keys: Learner) -> InferenceError:
    """A 401 (503 if no key is known at all) for a token whose key's name nobody knows, as `unless_new` has it."""
    if keys.empty:
        refusal = InferenceError(
            ErrorKind.UNAVAILABLE,
            "the keys of the token's issuer could not be fetched yet: try again later",
            reason="issuer-unavailable",
            retry_after=RETRY_SECONDS,
        )
    else:
        refusal = refused("the token is signed with a key its issuer does not publish: get a new token", "unknown-key")
    return unless_new(refusal, keys)


def unless_new(refusal: InferenceError, keys: Learner) -> InferenceError:
    """The refusal as KeyUnknown, or as it is when it is too early to ask: a storm of made-up names and signatures ends here."""
    return KeyUnknown(refusal, keys) if keys.may_learn() else refusal
