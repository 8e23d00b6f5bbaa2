"""One attempt at an endpoint while it lasts: counted, and its ending told to whoever must know."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse

if TYPE_CHECKING:
    from backends.cluster import Cluster
    from backends.race import Race


class Attempt:
    """Ends ok, failed or abandoned. `probe`: what the endpoint's `enter` gave.

    `race`: against which it runs, if there is one; `slow`: losing it counts as a failure, so much time there was.
    """

    __slots__ = ("cluster", "deadline", "endpoint", "probe", "race", "request", "slow")

    def __init__(self, cluster: Cluster, endpoint: Endpoint, probe: int, request: InferenceRequest, deadline: Deadline) -> None:
        self.cluster = cluster
        self.endpoint = endpoint
        self.probe = probe
        self.request = request
        self.deadline = deadline
        self.race: Race[InferenceResponse] | None = None
        self.slow = False

    def __enter__(self) -> None:
        self.endpoint.in_flight += 1

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        endpoint, cluster = self.endpoint, self.cluster
        endpoint.in_flight -= 1
        if error is None:
            endpoint.answers += 1
            if not endpoint.sound:
                endpoint.answered((self.request.model, self.request.version), self.probe, monotonic())
            cluster.sent(cluster.name, endpoint.address, "ok")
        else:
            cluster.sent(cluster.name, endpoint.address, self._failed(error))

    def _failed(self, error: BaseException) -> str:
        """Tells the endpoint; the word for how it ended."""
        now, key = monotonic(), (self.request.model, self.request.version)
        kind: ErrorKind | None
        if isinstance(error, InferenceError):
            kind, outcome = error.kind, error.kind.value
        elif self.race is not None and self.race.overtaken:
            kind, outcome = ErrorKind.BROKEN if self.slow else None, "overtaken"
        elif now >= self.deadline.at:
            kind, outcome = ErrorKind.DEADLINE, "deadline"
        else:
            kind, outcome = None, "abandoned"
        if kind is None:
            self.endpoint.abandoned(key, self.probe, now)
        else:
            self.endpoint.failed(key, self.probe, kind, now)
        return outcome
