"""The store as one part of the process: opened at the start, kept in the background, closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.configuration.schema_gateway import GatewayDocument
from gateway.store import pages, treasury
from gateway.store.address import parse
from gateway.store.answers import Observer, SharedAnswers
from gateway.store.leases import StoreLeases
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.meter import SharedMeter
from gateway.store.pages import StorePages
from gateway.store.treasury import SharedTreasury
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.cache.key import Keys

Spawn = Callable[[Coroutine[Any, Any, None], str], object]


class Store:
    """What `store: redis://…` makes. Until it is started, and whenever Redis is away, the meter decides alone."""

    def __init__(self, document: GatewayDocument, observer: Observer) -> None:
        redis = document.redis
        login = Login(_path(redis.password_file), _path(redis.ca_file))
        address = parse(document.store)
        self._link = Link(address, login)
        self.meter = SharedMeter(self._link, observer, document.workers)
        alone = "each gateway spends its part of what budgets have left"
        self._budgets_link = Link(address, login, treasury.ANSWER_SECONDS, alone)
        self.treasury = SharedTreasury(self._budgets_link, observer, lambda: self.meter.gateways)
        # Of its own: answers are large, and must not delay what limits ask.
        self.answers_link = Link(address, login, alone="each gateway keeps answers for itself", most=redis.answers)
        alone = "each gateway keeps its rollouts' weights, and no step ends"
        self._pages_link = Link(address, login, pages.ANSWER_SECONDS, alone, most=pages.MOST)
        self._observer = observer
        self._answers: SharedAnswers | None = None
        self.leases: StoreLeases | None = None  # where answers are shared

    @property
    def up(self) -> bool:
        """Whether it may be asked now, about limits and budgets, and for answers."""
        return self._link.up and self._budgets_link.up and (self._answers is None or self.answers_link.up)

    def share(self, near: LocalStore, keys: Keys, around: Around) -> LocalStore | SharedAnswers:
        """Where answers are kept: in memory, and if any may lie in Redis, there too."""
        if self.answers_link.most:
            self._answers = SharedAnswers(self.answers_link, near, keys, self._observer, around)
            self.leases = StoreLeases(self.answers_link)  # over the same link: what is released there was kept before
            self.leases.sent = self._answers.after
        return self._answers or near

    def pages(self, spawn: Spawn) -> StorePages:
        """Where gateways share their rollouts."""
        return StorePages(self._pages_link, spawn)

    async def start(self, spawn: Spawn) -> None:
        """Tries once, for half a second at most: a Redis that is away delays no start and stops none."""
        shared = self._answers
        links = [self._link, self._budgets_link, *([] if shared is None else [self.answers_link])]
        await asyncio.gather(*(link.attempt() for link in links))
        spawn(self._link.keep(), "store")
        spawn(self._budgets_link.keep(), "store of budgets")
        spawn(self.meter.renew(), "lease")
        if shared is not None:
            spawn(self.answers_link.keep(), "store of answers")
            spawn(shared.renew(), "agreement")

    def close(self) -> None:
        """Ends the connections. What was spawned is the spawner's to end."""
        self._link.close()
        self._budgets_link.close()
        self.answers_link.close()
        self._pages_link.close()


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
