"""What an operator may take out of use and put back: one endpoint, a backend's all, or this gateway itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.endpoints import Drained, EndpointState


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


class Estate:
    """Keeps what is drained. `told` says how every endpoint does; `apply` sees to it that what is drained gets nothing new."""

    def __init__(self, told: Callable[[], Awaitable[list[EndpointState]]], apply: Callable[[Drained], Awaitable[None]]) -> None:
        self.drained = Drained()
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
