"""What a cluster does when one of its endpoints does not do its part, as values; seconds and shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts` at one question in all; those beyond the first are at most the share `budget` of the questions."""

    attempts: int = 2
    budget: float = 0.1


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second ask of questions that take longer than the share `after` of an endpoint's answers do."""

    after: float = 0.95
    budget: float = 0.05


@dataclass(frozen=True, slots=True)
class Ejection:
    """So many failures one after the other, and how long nobody is sent there then."""

    failures: int = 5
    open: float = 3.0


@dataclass(frozen=True, slots=True)
class Checks:
    """How often every endpoint is asked whether it is ready, and how long it may take to say so."""

    interval: float = 2.0
    timeout: float = 1.0


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them for one cluster, and how many questions it takes at once. Without `retry` and `hedge` nothing is repeated."""

    max_in_flight: int = 256
    retry: Retry | None = None
    hedge: Hedge | None = None
    breaker: Ejection = Ejection()
    health: Checks = Checks()
