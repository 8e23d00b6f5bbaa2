"""Turns away at the door what would find no place, when only the head of a request is known and its body not yet read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from backends.admission import MIDDLE
from backends.cluster import Cluster
from backends.errors import InferenceError
from gateway.question import priority_granted
from routing.principal import Principal


class Door:
    """One model's. `asked` are all that any of its routes may ask first, or instead: as long as one of them may have a place the
    request comes in, since only its body may tell which route it takes. `timeout`: the longest of the routes', in seconds.
    """

    def __init__(self, asked: Iterable[tuple[Cluster, str]], timeout: float) -> None:
        self._lanes = tuple((cluster.places, cluster.places.lane(model), model) for cluster, model in asked)
        self._timeout = timeout

    def crowded(self) -> bool:
        """Whether nobody has a place free: whoever comes had better be checked."""
        for places, lane, _ in self._lanes:
            if lane.in_flight < lane.limit and places.in_flight < places.most:
                return False
        return bool(self._lanes)

    def check(self, principal: Principal, headers: Mapping[str, str], received: float, timeout: float | None) -> None:
        """Raises OVERLOADED where nobody could take the question, nor let it wait; `timeout` is the client's own."""
        priority = priority_granted(headers, principal)
        deadline = received + min(self._timeout, self._timeout if timeout is None else timeout)
        refused: InferenceError | None = None
        for places, _, model in self._lanes:
            error = places.refusal(model, MIDDLE if priority is None else priority, deadline)
            if error is None:
                return
            refused = refused or error
        if refused is not None:
            raise refused


OPEN = Door((), 0.0)
