"""Remembers what became of the policy, in the `state` folder if there is one, whose troubles are said and stop nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.aside import Runner
from gateway.reload.audit_log import Change, append
from gateway.reload.history import History, Kept, Origin
from gateway.spawner import Spawn

WRITE_SECONDS = 1.0  # seconds that whoever asked for a change waits until it is written down
_log = logging.getLogger(__name__)


def now() -> str:
    """The time, as it stands in history and audit log."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Records:
    """History and audit log. `run` does what touches the folder, in the background work that `spawn` starts."""

    def __init__(self, state: Path | None, run: Runner, spawn: Spawn) -> None:
        self._state = state
        self._run = run
        self._spawn = spawn
        self._writing: set[asyncio.Task[None]] = set()
        try:
            self.history = History(state and state / "policies")
        except OSError as error:
            _log.error("%s: cannot be read, the history begins anew: %s", state, error.strerror)
            self.history = History()
        if self.history.damaged:
            shown = ", ".join(sorted(self.history.damaged)[:5])
            _log.warning("%s: %d damaged, left out: %s", state and state / "policies", len(self.history.damaged), shown)

    def adopted(self, change: Change, text: bytes) -> Kept:
        """This document is in force from now on. Its entry in the history, which is written down by and by."""
        kept = self.history.add(text, Origin(change.who, change.via, change.what), change.time)
        self._write(lambda _: self.history.store())
        self.told(change)
        return kept

    def told(self, change: Change) -> None:
        """A line for the audit log."""
        self._write(lambda state: append(state / "audit.jsonl", change))

    async def written(self) -> None:
        """Returns when everything is written down, or when the folder has had long enough for it."""
        if self._writing and (await asyncio.wait(self._writing, timeout=WRITE_SECONDS))[1]:
            _log.error("%s: does not answer; what changes is written down when it does", self._state)

    def _write(self, work: Callable[[Path], None]) -> None:
        if self._state is not None:
            self._writing.add(task := self._spawn(self._written(self._state, work), "policy records"))
            task.add_done_callback(self._writing.discard)

    async def _written(self, state: Path, work: Callable[[Path], None]) -> None:
        def within() -> None:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            work(state)

        try:
            await self._run(within)
        except OSError as error:
            _log.error("%s: cannot be written: %s", state, error.strerror or error)
