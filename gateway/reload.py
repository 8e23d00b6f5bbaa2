"""Takes a changed policy into use: everything that can fail is built first, then one assignment swaps it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.compile import blueprint, compile_snapshot
from gateway.configuration.problems import PolicyError
from gateway.dataplane import Dataplane
from gateway.snapshot import Snapshot
from gateway.telemetry.metrics import Metrics

MAX_BYTES = 1 << 20
Spawn = Callable[[Coroutine[Any, Any, None], str], object]
_log = logging.getLogger(__name__)


def read_snapshot(path: Path, previous: Snapshot | None, metrics: Metrics, clock: Callable[[], float]) -> Snapshot:
    """The snapshot of the policy in the file. Raises PolicyError for what it says and OSError for the file itself."""
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)  # one more than the loader takes, so that it is the loader who refuses
    return compile_snapshot(blueprint(text, str(path)), previous, metrics, clock)


class Reloader:
    """Reloads one policy file into one data plane."""

    def __init__(self, path: Path, plane: Dataplane, metrics: Metrics, clock: Callable[[], float], spawn: Spawn) -> None:
        self._path = path
        self._plane = plane
        self._metrics = metrics
        self._clock = clock
        self._spawn = spawn

    def reload(self) -> bool:
        """Whether the file's policy is in force now; if not, the old one goes on and the log says why."""
        previous = self._plane.snapshot
        try:
            snapshot = read_snapshot(self._path, previous, self._metrics, self._clock)
        except (PolicyError, OSError) as error:
            self._metrics.policy_refused()
            _log.error("policy not taken, version %s stays in force: %s", previous.version, error)
            return False
        self._plane.snapshot = snapshot
        self._metrics.policy_loaded(snapshot.version)
        kept = set(map(id, snapshot.clusters.values()))
        for cluster in previous.clusters.values():
            if id(cluster) not in kept:
                self._spawn(cluster.close(), f"close cluster {cluster.name}")  # which waits for what it has in flight
        _log.info("policy version %s in force", snapshot.version)
        return True
