"""Clusters for work beside requests: their own pools, breakers and counts, so that whoever is dead, slow or asked too much there
takes nothing from what answers clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from backends.cluster import Cluster
from backends.rules import Rules
from gateway.admin.drains import Drained
from gateway.snapshot import ClusterSpec
from gateway.spawner import Spawn

Make = Callable[[ClusterSpec], Cluster]
Key = tuple[str, str, str]  # model, whose they are, backend


class OwnClusters:
    """They repeat nothing and are not health-checked. Those that did not change outlive every policy."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._clusters: dict[Key, tuple[ClusterSpec, Cluster]] = {}
        self._drained = Drained()

    def renew(self, wanted: Mapping[Key, ClusterSpec], make: Make) -> None:
        """These from now on; the others close, each when it can."""
        before, self._clusters = self._clusters, {}
        for key, spec in wanted.items():
            known = before.get(key)
            self._clusters[key] = known if known is not None and known[0] == spec else (spec, make(spec))
        for key, (_, cluster) in before.items():
            if self._clusters.get(key, (None, None))[1] is not cluster:
                self._spawn(cluster.close(), f"close own cluster {cluster.name}")
        self.hold(self._drained)

    def of(self, model: str, whose: str) -> dict[str, Cluster]:
        """One's clusters by backend."""
        return {key[2]: cluster for key, (_, cluster) in self._clusters.items() if key[:2] == (model, whose)}

    def hold(self, drained: Drained) -> None:
        """Asks nothing of what an operator has drained."""
        self._drained = drained
        for (_, _, backend), (_, cluster) in self._clusters.items():
            drained.apply({backend: cluster})

    async def close(self) -> None:
        """Lets go of every connection."""
        await asyncio.gather(*(cluster.close() for _, cluster in self._clusters.values()))


def own(spec: ClusterSpec, room: int) -> ClusterSpec:
    """The backend with room for so many questions at once."""
    rules = Rules(room, breaker=spec.rules.breaker, health=spec.rules.health)
    return ClusterSpec(spec.name, spec.protocol, spec.endpoints, spec.balance, rules)
