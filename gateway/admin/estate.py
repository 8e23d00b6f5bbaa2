"""What an operator takes out of use and puts back (an endpoint, a backend's all, this gateway), and which answers go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.admin.endpoints import Drained, EndpointState
from gateway.configuration.schema_policy import Model
from routing.caching import Purge


class DrainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is drained, or wanted again: an endpoint, all of a backend's, or with neither this gateway."""

    backend: str = ""
    endpoint: str = ""
    drained: bool = True

    def __str__(self) -> str:
        """As it stands in the audit log."""
        if not self.backend:
            return "this gateway"
        return f"backend {self.backend}" + (f", endpoint {self.endpoint}" if self.endpoint else "")


class PurgeBody(Purge, frozen=True, gc=False, forbid_unknown_fields=True):
    """Which answers are thrown away: all that is said must hold; nothing said is everything."""

    def __str__(self) -> str:
        """As it stands in the audit log."""
        said = [f"{name} {value}" for name, value in msgspec.structs.asdict(self).items() if value]
        return f"answers of {', '.join(said)}" if said else "all answers"

    def unknown(self, models: Mapping[str, Model]) -> str:
        """What of it the policy has not; "" if it may mean something."""
        if self.model and self.model not in models:
            return f"model {self.model}"
        meant = [models[self.model]] if self.model else list(models.values())
        if self.variant and not any(self.variant in each.variants for each in meant):
            return f"variant {self.variant}"
        tags = {each.cache.tag for each in meant if each.cache is not None}
        return f"tag {self.tag}" if self.tag and self.tag not in tags else ""


class Estate:
    """Keeps what is drained. `told` says how every endpoint does; `apply` sees to it that what is drained gets nothing new;
    `purge` throws kept answers away, in every process.
    """

    def __init__(
        self,
        told: Callable[[], Awaitable[list[EndpointState]]],
        apply: Callable[[Drained], Awaitable[None]],
        purge: Callable[[Purge], Awaitable[None]],
    ) -> None:
        self.drained = Drained()
        self.purge = purge
        self._told = told
        self._apply = apply

    async def shown(self, wish: DrainBody | None = None) -> dict[str, Any]:
        """Whether the gateway is drained, and its endpoints: all, or those that the wish is about."""
        states = await self._told()
        if wish is not None:
            states = [each for each in states if _meant(wish, each)]
        return {"gateway": {"drained": self.drained.gateway}, "endpoints": msgspec.to_builtins(states)}

    async def drain(self, wish: DrainBody) -> bool:
        """Makes it so; False if there is no such endpoint."""
        if not wish.backend:
            self.drained = msgspec.structs.replace(self.drained, gateway=wish.drained)
        else:
            meant = {(each.backend, each.endpoint) for each in await self._told() if _meant(wish, each)}
            if not meant:
                return False
            endpoints = self.drained.endpoints | meant if wish.drained else self.drained.endpoints - meant
            self.drained = msgspec.structs.replace(self.drained, endpoints=endpoints)
        await self._apply(self.drained)
        return True


def _meant(wish: DrainBody, state: EndpointState) -> bool:
    return wish.backend == state.backend and wish.endpoint in ("", state.endpoint)
