"""Keeps what every target's model takes, as its backend tells it, so that misfits are refused at the front.

What its queue obeys is told by the same configuration, and handed on to its cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.schedule import schedule
from backends.signature import Signature, signature
from gateway.snapshot import Snapshot
from routing.plan import Target

INTERVAL = 5.0  # seconds between looks: how long a changed model may be judged by its old signature
TIMEOUT = 2.0  # seconds for one look
_log = logging.getLogger(__name__)


class Signatures:
    """Signatures by what a target is to its backend: a reload that changes a cost or a timeout forgets nothing.

    A target that cannot be asked, or is gone from its backend, has none: then the backend judges.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._known: dict[tuple[str, str, str], Signature] = {}
        self._served: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def get(self, target: Target) -> Signature | None:
        """What the target takes, as far as is known."""
        return self._known.get((target.backend, target.model, target.version))  # _place, without the call

    def versions(self, target: Target) -> tuple[str, ...] | None:
        """What its backend was last seen to serve of it, also while it cannot be asked: empty where it names none.

        None where nobody knows.
        """
        return self._served.get((target.backend, target.model, target.version))

    async def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        """Looks at every target of the current snapshot, again and again, until cancelled."""
        while True:
            await self.look(snapshot())
            await asyncio.sleep(self._interval)

    async def look(self, snapshot: Snapshot) -> None:
        """Asks all backends once, side by side, and forgets targets that the policy no longer names."""
        targets = {_place(target): target for model in snapshot.models.values() for target in (*model.targets, *model.candidates)}
        for known in (self._known, self._served):
            for gone in known.keys() - targets.keys():
                del known[gone]
        async with asyncio.TaskGroup() as group:
            for target in targets.values():
                group.create_task(self._learn(snapshot, target), name=f"signature of {target.variant}")

    async def _learn(self, snapshot: Snapshot, target: Target) -> None:
        cluster = snapshot.clusters[target.backend]
        deadline = Deadline(asyncio.get_running_loop().time() + TIMEOUT)
        try:
            metadata = await cluster.describe("metadata", target.model, target.version, deadline)
            told = metadata.get("versions")
            self._served[_place(target)] = tuple([str(each) for each in told]) if isinstance(told, list) else ()
            config = await cluster.describe("config", target.model, target.version, deadline)
            obeyed = schedule(config)
            if obeyed is not None:
                cluster.schedules[target.model] = obeyed
            else:
                cluster.schedules.pop(target.model, None)
            found = signature(metadata, config)
        except InferenceError as error:
            _log.debug("no signature of %s: %s", target.variant, error.message)
            found = None
        if found is None:
            self._known.pop(_place(target), None)
        elif found != self._known.get(_place(target)):  # else what was decided by the one there is still holds
            self._known[_place(target)] = found


def _place(target: Target) -> tuple[str, str, str]:
    return target.backend, target.model, target.version
