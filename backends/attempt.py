"""One attempt at an endpoint while it lasts: counted, and its ending told to whoever must know."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from backends.deadline import Deadline
from backends.endpoint import Endpoint, Key
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from backends.second import Second
from backends.tries import Tries

if TYPE_CHECKING:
    from backends.cluster import Cluster


class Attempt:
    """Ends ok, failed or abandoned. `probe`: what the endpoint's `enter` gave.

    `task` is set while the attempt is watched: the task to interrupt if another endpoint answers first.
    """

    __slots__ = (
        *("began", "cluster", "deadline", "endpoint", "hedge_at", "probe", "request"),
        *("second", "sent", "task", "tries"),
    )

    def __init__(self, cluster: Cluster, endpoint: Endpoint, probe: int, request: InferenceRequest, deadline: Deadline) -> None:
        self.cluster = cluster
        self.endpoint = endpoint
        self.probe = probe
        self.request = request
        self.deadline = deadline
        self.tries: Tries | None = None
        self.task: asyncio.Task[Any] | None = None
        self.second: Second | None = None
        self.began = self.sent = 0.0
        self.hedge_at: float | None = None

    @property
    def key(self) -> Key:
        """The model and version that it asks about."""
        return self.request.model, self.request.version

    def __enter__(self) -> None:
        self.endpoint.in_flight += 1
        if self.request.sent is not None:
            self.sent = monotonic()
            self.request.sent.append(self.sent)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        endpoint, cluster = self.endpoint, self.cluster
        endpoint.in_flight -= 1
        if self.task is not None:
            cluster.unwatch(self, error)
        if error is None:
            answered(cluster, endpoint, self.key, self.probe)
        else:
            cluster.sent(cluster.name, endpoint.address, self._failed(error))

    def expire(self) -> None:
        """It takes long: the alarm of a watched attempt."""
        if self.second is None:
            self.second = Second(self)
        self.second.late(self)

    def elsewhere(self, why: str) -> Attempt:
        """Another attempt at the same question, at an endpoint that was not tried. Raises UNAVAILABLE where there is none."""
        cluster = self.cluster
        self.tries = tries = self.tries or Tries()
        others = [each for each in cluster.endpoints if each is not self.endpoint and each not in tries.tried]
        found = cluster.choose(others, self.request)
        if found is None:
            raise cluster.unreachable()
        cluster.repeated(cluster.name, why)
        tries.count += 1
        tries.tried.append(found[0])
        return Attempt(cluster, *found, self.request, self.deadline)

    def _failed(self, error: BaseException) -> str:
        """Tells the endpoint; the word for how it ended."""
        now = monotonic()
        kind: ErrorKind | None = None
        if isinstance(error, InferenceError):
            kind, outcome = error.kind, error.kind.value
            if self.request.sent is not None and kind is not ErrorKind.DEADLINE:
                self.request.sent.remove(self.sent)
        elif self.second is not None and self.second.overtaken:
            kind, outcome = ErrorKind.BROKEN if self.second.slow else None, "overtaken"
        elif now >= self.deadline.at:
            kind, outcome = ErrorKind.DEADLINE, "deadline"
        else:
            outcome = "abandoned"
        if kind is None:
            self.endpoint.abandoned(self.key, self.probe, now)
        else:
            self.endpoint.failed(self.key, self.probe, kind, now)
        return outcome


def answered(cluster: Cluster, endpoint: Endpoint, key: Key, probe: int) -> None:
    """An attempt at the endpoint had its answer."""
    endpoint.answers += 1
    if not endpoint.sound:
        endpoint.answered(key, probe, monotonic())
    if cluster.retries is not None:
        cluster.retries.earned()
    cluster.sent(cluster.name, endpoint.address, "ok")
