"""Takes a changed policy into use: everything that can fail is built first, then one assignment swaps it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.compile import Blueprint, blueprint, compile_snapshot
from gateway.configuration.files import read_file
from gateway.configuration.problems import PolicyError
from gateway.dataplane import Dataplane
from gateway.snapshot import Snapshot
from gateway.telemetry.metrics import Metrics

Spawn = Callable[[Coroutine[Any, Any, None], str], object]
_log = logging.getLogger(__name__)


def read_blueprint(path: Path) -> Blueprint:
    """What the policy in the file says. Raises PolicyError for what it says and OSError for the file itself."""
    return blueprint(read_file(path), str(path))


def read_snapshot(path: Path, metrics: Metrics, clock: Callable[[], float]) -> Snapshot:
    """The first snapshot of a process. Raises as `read_blueprint`."""
    return compile_snapshot(read_blueprint(path), None, metrics, clock)


class Reloader:
    """Reloads one policy file into one data plane."""

    def __init__(self, path: Path, plane: Dataplane, metrics: Metrics, clock: Callable[[], float], spawn: Spawn) -> None:
        self._path = path
        self._plane = plane
        self._metrics = metrics
        self._clock = clock
        self._spawn = spawn
        self._reloading = asyncio.Lock()

    async def reload(self) -> bool:
        """Whether the file's policy is in force now; if not, the old one goes on and the log says why.

        The file is read and checked in a thread: a large policy takes half a second, in which requests go on.
        """
        async with self._reloading:  # else what was read first might be taken last
            return await self._reload()

    async def _reload(self) -> bool:
        try:
            drawn = await asyncio.to_thread(read_blueprint, self._path)
        except (PolicyError, OSError) as error:
            self._metrics.policy_refused()
            said = error if isinstance(error, PolicyError) else f"{self._path}: {error.strerror}"
            _log.error("policy not taken, version %s stays in force: %s", self._plane.snapshot.version, said)
            return False
        previous = self._plane.snapshot
        snapshot = compile_snapshot(drawn, previous, self._metrics, self._clock)
        self._plane.snapshot = snapshot
        self._metrics.policy_loaded(snapshot.version)
        kept = set(map(id, snapshot.clusters.values()))
        for cluster in previous.clusters.values():
            if id(cluster) not in kept:
                self._spawn(cluster.close(), f"close cluster {cluster.name}")  # which waits for what it has in flight
        _log.info("policy version %s in force", snapshot.version)
        return True
