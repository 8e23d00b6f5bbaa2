"""The audits of one process: their own ways to the dearest stages, what they saw, who has fallen; outlives every policy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from gateway.admin.drains import Drained
from gateway.aside import Aside
from gateway.audit.words import Order, Told
from gateway.own_clusters import Make, OwnClusters, own
from gateway.snapshot import ClusterSpec
from policies.audit import Account, Accounts, AuditPolicy, Means
from policies.beside import Spawn, Untold
from policies.call import Policy
from policies.cascade import CascadePolicy
from policies.deadline import DeadlinePolicy
from policies.onion import core, onion
from routing.cascade.audits import Audit
from routing.match import Cascade, RouteTable
from routing.plan import Target

Key = tuple[str, str]  # model, route


def audited(tables: Mapping[str, RouteTable]) -> Iterator[tuple[Key, Audit, Target]]:
    """Every audited cascade, with its dearest stage."""
    for name, table in tables.items():
        for route in table.routes:
            action = route.action
            if isinstance(action, Cascade) and action.audit is not None:
                yield (name, route.name), action.audit, action.stages[-1].target


class Audits:
    """Its clusters are its own, so that a dearest stage that is dead, slow or asked too much takes nothing from clients."""

    def __init__(self, means: Means, ended: Callable[[], None] = lambda: None) -> None:
        """`ended` is called when nothing is compared any more."""
        self.accounts: Accounts = {}
        self.fell: Callable[[frozenset[tuple[str, str, str]]], None] = lambda _: None  # hears who has: model, route, epoch
        self._means = means
        self._ended = ended
        self._clusters = OwnClusters(means.spawn)
        self._orders: dict[Key, Order] = {}

    async def close(self) -> None:
        """Lets go of every connection."""
        self._ended()
        await self._clusters.close()

    def layers(self, tables: Mapping[str, RouteTable], specs: Mapping[str, ClusterSpec], make: Make) -> dict[str, AuditPolicy]:
        """The layer of each model with an audited cascade. What did not change is kept as it runs."""
        found = {key: (audit, target) for key, audit, target in audited(tables)}
        self._clusters.renew(
            {(*key, target.backend): own(specs[target.backend], audit.in_flight) for key, (audit, target) in found.items()}, make
        )
        for lost in self.accounts.keys() - found.keys():
            del self.accounts[lost]
        for key, (audit, _) in found.items():
            self.accounts.setdefault(key, Account(audit.epoch, self._means)).follow(audit.epoch)
        self._follow()
        return {model: self._layer(model, found) for model in dict.fromkeys(model for model, _ in found)}

    def exchange(self, orders: Sequence[Order]) -> list[Told]:
        """What was seen until now; and from now on these orders hold."""
        told = [_told(key, account) for key, account in self.accounts.items()]
        self._orders = {(order.model, order.route): order for order in orders}
        self._follow()
        return told

    async def alone(self, orders: Sequence[Order]) -> list[list[Told]]:
        """The same, of a gateway that is this process alone."""
        return [self.exchange(orders)]

    def hold(self, drained: Drained) -> None:
        """Asks nothing of what an operator has drained."""
        self._clusters.hold(drained)

    def _follow(self) -> None:
        for key, account in self.accounts.items():
            order = self._orders.get(key)
            account.fallen = order is not None and order.fallen and order.epoch == account.epoch
        self.fell(frozenset((*key, account.epoch) for key, account in self.accounts.items() if account.fallen))

    def _layer(self, model: str, found: Mapping[Key, tuple[Audit, Target]]) -> AuditPolicy:
        asks = {}
        for name, route in found:
            if name == model:
                layers: dict[str, Policy] = {"deadline": DeadlinePolicy(), "cascade": CascadePolicy(Untold(), self._means.clock)}
                asks[route] = onion(layers, core(self._clusters.of(model, route), Untold(), self._means.clock))
        return AuditPolicy(asks, self.accounts, self._means)


def _told(key: Key, account: Account) -> Told:
    seen, outcomes, cost = account.take()
    return Told(*key, account.epoch, seen, outcomes, cost)


def audits_of(spawn: Spawn, told: Callable[[str, str, str], None], paid: Callable[[str, str, float], None]) -> Audits:
    """Of a process that serves. `told` hears what became of each audited request by model, route and outcome, `paid` its cost."""
    aside = Aside("audit")
    return Audits(Means(spawn, time.monotonic, random.random, told, paid, aside), aside.close)
