"""What shadows have seen in this process, and their own ways to the backends; outlives every policy."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping

from backends.cluster import Cluster
from backends.rules import Rules
from gateway.admin.drains import Drained
from gateway.aside import Aside
from gateway.shadow.report import Seen
from gateway.snapshot import ClusterSpec
from policies.call import Ask, Policy
from policies.cascade import CascadePolicy
from policies.deadline import DeadlinePolicy
from policies.onion import core, onion
from policies.shadow import Account, Accounts, Means, ShadowPolicy, Spawn, Untold
from routing.match import RouteTable
from routing.shadow.shadows import Shadow
from routing.targets import targets

Make = Callable[[ClusterSpec], Cluster]
_Key = tuple[str, str, str]  # model, shadow, backend


class Shadows:
    """Clusters of mirrors are theirs alone: another pool, breaker and count than the primary's, so that a candidate that is dead,
    slow or asked too much takes nothing from it. They repeat nothing and are not health-checked."""

    def __init__(self, means: Means, ended: Callable[[], None] = lambda: None) -> None:
        """`ended` is called when nothing is compared any more."""
        self.accounts: Accounts = {}
        self._ended = ended
        self._means = means
        self._clusters: dict[_Key, tuple[ClusterSpec, Cluster]] = {}
        self._drained = Drained()

    async def close(self) -> None:
        """Lets go of every connection."""
        self._ended()
        await asyncio.gather(*(cluster.close() for _, cluster in self._clusters.values()))

    def layers(self, tables: Mapping[str, RouteTable], specs: Mapping[str, ClusterSpec], make: Make) -> dict[str, ShadowPolicy]:
        """The layer of each model with shadows. Clusters that did not change are kept; the others close, each when it can."""
        before, self._clusters = self._clusters, {}
        made = {name: self._layer(table, specs, before, make) for name, table in tables.items() if table.shadows}
        gone = [cluster for key, (_, cluster) in before.items() if self._clusters.get(key, (None, None))[1] is not cluster]
        for cluster in gone:
            self._means.spawn(cluster.close(), f"close mirrors' cluster {cluster.name}")
        wanted = {(model, shadow.name): shadow.epoch for model, table in tables.items() for shadow, _ in table.shadows}
        for lost in self.accounts.keys() - wanted.keys():
            del self.accounts[lost]
        for key, epoch in wanted.items():
            self.accounts.setdefault(key, Account(epoch, self._means.clock)).follow(epoch)
        self.hold(self._drained)
        return made

    def hold(self, drained: Drained) -> None:
        """Mirrors nothing to what an operator has drained."""
        self._drained = drained
        for (_, _, backend), (_, cluster) in self._clusters.items():
            drained.apply({backend: cluster})

    def seen(self) -> list[Seen]:
        """What was counted."""
        return [Seen(model, name, account.ledger) for (model, name), account in self.accounts.items()]

    def _layer(
        self,
        table: RouteTable,
        specs: Mapping[str, ClusterSpec],
        before: Mapping[_Key, tuple[ClusterSpec, Cluster]],
        make: Make,
    ) -> ShadowPolicy:
        asks: dict[str, Ask] = {}
        for shadow, _ in table.shadows:
            clusters = {}
            for backend in _backends(table):
                key, spec = (table.model, shadow.name, backend), _own(specs[backend], shadow)
                known = before.get(key)
                self._clusters[key] = known if known is not None and known[0] == spec else (spec, make(spec))
                clusters[backend] = self._clusters[key][1]
            layers: dict[str, Policy] = {"deadline": DeadlinePolicy(), "cascade": CascadePolicy(Untold(), self._means.clock)}
            asks[shadow.name] = onion(layers, core(clusters, Untold(), self._means.clock))
        return ShadowPolicy(asks, self.accounts, self._means)


def _backends(table: RouteTable) -> set[str]:
    """Where mirrors of the model may go: in a cascade the other stages are asked again, too."""
    return {target.backend for target in (*targets(table), *(target for _, target in table.shadows))}


def _own(spec: ClusterSpec, shadow: Shadow) -> ClusterSpec:
    """The backend with room for the shadow's own questions, each asked twice at most."""
    rules = Rules(2 * shadow.in_flight, breaker=spec.rules.breaker, health=spec.rules.health)
    return ClusterSpec(spec.name, spec.protocol, spec.endpoints, spec.balance, rules)


def running(spawn: Spawn, told: Callable[[str, str, str], None]) -> Shadows:
    """Of a process that serves. `told` hears of each mirror by model, shadow and outcome."""
    aside = Aside("compare")
    return Shadows(Means(spawn, time.monotonic, time.time, random.random, told, aside), aside.close)
