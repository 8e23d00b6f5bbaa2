"""Remembers what became of the policy, in the `state` folder if there is one, whose troubles are said and stop nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.aside import Runner
from gateway.audit import Change, append
from gateway.history import History, Kept, Origin

PATIENCE = 1.0  # seconds that a change waits until it is written down
_log = logging.getLogger(__name__)


def now() -> str:
    """The time, as it stands in history and audit log."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Records:
    """History and audit log. `run` does what touches the folder."""

    def __init__(self, state: Path | None, run: Runner) -> None:
        self._state = state
        self._run = run
        try:
            self.history = History(state and state / "policies")
        except OSError as error:
            _log.error("%s: cannot be read, the history begins anew: %s", state, error.strerror)
            self.history = History()
        if self.history.damaged:
            shown = ", ".join(sorted(self.history.damaged)[:5])
            _log.warning("%s: %d damaged, left out: %s", state and state / "policies", len(self.history.damaged), shown)

    async def adopted(self, change: Change, text: bytes) -> Kept:
        """This document is in force from now on. Its entry in the history, written down if the folder answers in time."""
        kept = self.history.add(text, Origin(change.who, change.via, change.what), change.time)
        await self._save(lambda _: self.history.store(kept, text))
        await self.told(change)
        return kept

    async def told(self, change: Change) -> None:
        """A line for the audit log."""
        await self._save(lambda state: append(state / "audit.jsonl", change))

    async def _save(self, work: Callable[[Path], None]) -> None:
        if (state := self._state) is None:
            return

        def within() -> None:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            work(state)

        try:
            async with asyncio.timeout(PATIENCE):
                await self._run(within)
        except TimeoutError:
            _log.error("%s: does not answer; what changes is written down when it does", self._state)
        except OSError as error:
            _log.error("%s: cannot be written: %s", self._state, error.strerror or error)
