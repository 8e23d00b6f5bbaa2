"""Keeps checking every endpoint of the policy in force, each cluster at its own pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Set
from time import monotonic

from backends.checks import check
from backends.cluster import Cluster
from backends.endpoint import Key
from gateway.snapshot import Snapshot

_log = logging.getLogger(__name__)
LOOK = 0.25  # seconds until a new policy's clusters are noticed


class Health:
    """One task for each cluster, as long as the policy has it."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    async def watch(self) -> None:
        """Checks until cancelled."""
        async with asyncio.TaskGroup() as group:
            running: dict[Cluster, asyncio.Task[None]] = {}
            while True:
                clusters = set(self._snapshot().clusters.values())
                for gone in running.keys() - clusters:
                    running.pop(gone).cancel()
                for new in clusters - running.keys():
                    running[new] = group.create_task(self._keep_checking(new), name=f"health of {new.name}")
                await asyncio.sleep(LOOK)

    async def _keep_checking(self, cluster: Cluster) -> None:
        rules = cluster.rules.health
        due = monotonic()
        told = set(cluster.endpoints)  # those that took questions when last told of
        while True:
            models = asked_of(self._snapshot(), cluster)
            await asyncio.gather(*(check(endpoint, models, rules.timeout) for endpoint in cluster.endpoints))
            serving = {endpoint for endpoint in cluster.endpoints if endpoint.serves}
            for changed in told ^ serving:
                now = "takes questions again" if changed in serving else "cannot be reached, or does not answer"
                _log.warning("backend '%s': %s %s", cluster.name, changed.address, now)
            told = serving
            due = max(due + rules.interval, monotonic())
            await asyncio.sleep(due - monotonic())


def asked_of(snapshot: Snapshot, cluster: Cluster) -> Set[Key]:
    """The models that the policy's routes may ask of the cluster."""
    found = (target for model in snapshot.models.values() for target in model.targets)
    return {(target.model, target.version) for target in found if snapshot.clusters[target.backend] is cluster}
