"""What shadows have seen in this process, and their own ways to the backends; outlives every policy."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping

from gateway.admin.drains import Drained
from gateway.aside import Aside
from gateway.configuration.schema_gateway import Samples
from gateway.own_clusters import Make, OwnClusters, own
from gateway.shadow.report import Seen
from gateway.snapshot import ClusterSpec
from gateway.telemetry.pairs import pair_log
from policies.beside import Spawn, Untold
from policies.call import Ask, Policy
from policies.cascade import CascadePolicy
from policies.deadline import DeadlinePolicy
from policies.onion import core, onion
from policies.shadow import Account, Accounts, Means, ShadowPolicy
from routing.match import RouteTable
from routing.shadow.shadows import Shadow
from routing.targets import targets

Paid = Callable[[str, str, float], None]
Held = Callable[[str, Shadow, bool, bool], None]


class Shadows:
    """Mirrors are asked over clusters of their own."""

    def __init__(self, means: Means, ended: Callable[[], Awaitable[None]] | None = None) -> None:
        """`ended` is called when nothing is compared any more."""
        self.accounts: Accounts = {}
        self._ended = ended
        self._means = means
        self._clusters = OwnClusters(means.spawn)

    async def close(self) -> None:
        """Lets go of every connection."""
        if self._ended is not None:
            await self._ended()
        await self._clusters.close()

    def layers(self, tables: Mapping[str, RouteTable], specs: Mapping[str, ClusterSpec], make: Make) -> dict[str, ShadowPolicy]:
        """The layer of each model with shadows. Clusters that did not change are kept; the others close, each when it can."""
        shadows = [(table, shadow) for table in tables.values() for shadow, _ in table.shadows]
        self._clusters.renew(
            {
                (table.model, shadow.name, backend): own(specs[backend], 2 * shadow.in_flight)  # each asked twice at most
                for table, shadow in shadows
                for backend in _backends(table)
            },
            make,
        )
        wanted = {(table.model, shadow.name): shadow.epoch for table, shadow in shadows}
        for lost in self.accounts.keys() - wanted.keys():
            del self.accounts[lost]
        for key, epoch in wanted.items():
            self.accounts.setdefault(key, Account(epoch, self._means.clock)).follow(epoch)
        return {name: self._layer(table) for name, table in tables.items() if table.shadows}

    def hold(self, drained: Drained) -> None:
        """Mirrors nothing to what an operator has drained."""
        self._clusters.hold(drained)

    def seen(self) -> list[Seen]:
        """What was counted."""
        return [Seen(model, name, account.ledger) for (model, name), account in self.accounts.items()]

    def _layer(self, table: RouteTable) -> ShadowPolicy:
        asks: dict[str, Ask] = {}
        for shadow, _ in table.shadows:
            layers: dict[str, Policy] = {"deadline": DeadlinePolicy(), "cascade": CascadePolicy(Untold(), self._means.clock)}
            clusters = self._clusters.of(table.model, shadow.name)
            asks[shadow.name] = onion(layers, core(clusters, Untold(), self._means.clock))
        return ShadowPolicy(asks, self.accounts, self._means)


def _backends(table: RouteTable) -> set[str]:
    """Where mirrors of the model may go: in a cascade the other stages are asked again, too."""
    return {target.backend for target in (*targets(table), *(target for _, target in table.shadows))}


def shadows_of(
    spawn: Spawn,
    told: Callable[[str, str, str], None],
    pairs: Samples | None = None,
    paid: Paid = lambda *_: None,
    held: Held = lambda *_: None,
) -> Shadows:
    """Of a process that serves. `told` hears of each mirror by model, shadow and outcome, `paid` its cost by model and shadow;
    `pairs`: where answers are recorded. `held` hears, of each question that the primary was asked twice, whether the candidate's
    answer and the second one differ from the first.
    """
    aside, kept = Aside("compare"), pair_log(pairs)

    async def ended() -> None:
        aside.close()
        if kept is not None:
            await kept.close()

    return Shadows(Means(spawn, time.monotonic, time.time, random.random, told, aside, kept, paid, held), ended)
