"""The one exception that crosses packages, and the bounded words for why an answer could not be had."""

from __future__ import annotations

import re
from enum import StrEnum

_LONGEST = 500  # characters of a backend's own words
# A place in a program, as stack traces of Python, Triton's Python backend, C++, Java, Go, Rust, .NET and JavaScript name them.
_TRACE = re.compile(
    r"Traceback \(most recent|stack backtrace:|goroutine \d+ \[|\b0x[0-9a-f]{8}|"
    r"\.(?:py|pyc|pyx|c|cc|cpp|h|hpp|cu|rs|go|java|kt|scala|cs|js|mjs|ts)(?:\", line |\(|:|:line )\d"
)


class ErrorKind(StrEnum):
    """Why a call failed; each dialect maps every kind to its own status in one exhaustive match."""

    INVALID = "invalid"  # malformed, wrong shape, dtype or name: the client must change the request
    UNAUTHENTICATED = "unauthenticated"  # no credential, or one that does not hold
    FORBIDDEN = "forbidden"  # known principal, not allowed
    NOT_FOUND = "not-found"  # no such model, version or path
    METHOD = "method"  # the path exists, the method does not
    TOO_LARGE = "too-large"  # a byte limit, before or after inflating
    UNSUPPORTED = "unsupported"  # media type, content coding or feature we do not carry
    SLOW = "slow"  # the client sent its request too slowly
    LIMITED = "limited"  # a quota of the principal
    OVERLOADED = "overloaded"  # no room here or at the backend: try again later
    UNAVAILABLE = "unavailable"  # no endpoint could be reached
    BROKEN = "broken"  # the backend answered, but not with an answer
    DEADLINE = "deadline"  # time was up
    INTERNAL = "internal"  # a defect of ours


class InferenceError(Exception):
    """A call that has no answer: what kind of failure, whose, and whether another endpoint might do better.

    `message` is for the client: it says what to do and never holds a credential or tensor values.
    `source` is `client`, `gateway` or a backend's name, for logs and metrics.
    `reason` is the bounded word shown in `X-Penstock-Error`; the kind's own word unless given.
    """

    cost: float = 0.0  # of what was asked all the same, in the policy's unit

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        source: str = "gateway",
        reason: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.source = source
        self.reason = reason or kind.value
        self.retryable = retryable
        self.retry_after = retry_after  # seconds

    def again(self, message: str = "") -> InferenceError:
        """The same failure as an exception of its own; `message` in other words."""
        return InferenceError(
            self.kind,
            message or self.message,
            source=self.source,
            reason=self.reason,
            retryable=self.retryable,
            retry_after=self.retry_after,
        )

    def ended(self) -> None:
        """To be called where nobody raises it any further: it, and what caused it, let go of the frames they came through.

        Those frames hold it again, a circle of 40 objects with the client's connection among them. What a second of failures
        left behind stopped every request for 50 ms when the collector came.
        """
        found: BaseException | None = self
        while found is not None:
            found.__traceback__ = None
            found = found.__cause__ or found.__context__


def invalid(message: str, reason: str = "") -> InferenceError:
    """The commonest error: the client's request cannot be understood or does not fit the model."""
    return InferenceError(ErrorKind.INVALID, message, source="client", reason=reason)


def readable(text: str) -> str:
    """A backend's own words as a client may read them: one line of at most 500 characters, and nothing of a stack trace."""
    line = " ".join(text[:_LONGEST].split())
    return "" if _TRACE.search(line) else line
