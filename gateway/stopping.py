"""How far an orderly end has got, which signals and time move on: serving, then notice, then draining, then cut off.

SERVING  -> NOTICE    SIGTERM: not ready, and everything is served, so that load balancers can see it
SERVING  -> DRAINING  SIGINT: whoever sits there sends no traffic by a load balancer
NOTICE   -> DRAINING  the notice is over, or another SIGTERM or SIGINT
DRAINING -> CUT_OFF   another SIGTERM or SIGINT
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

_log = logging.getLogger(__name__)


class Stopping:
    """One process's end. The events stay set."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()  # NOTICE or later
        self.draining = asyncio.Event()  # DRAINING or later
        self.cut_off = asyncio.Event()

    def terminate(self) -> None:
        """What SIGTERM asks for: the next step."""
        for event in (self.asked, self.draining, self.cut_off):
            if not event.is_set():
                event.set()
                return

    def interrupt(self) -> None:
        """What SIGINT asks for: no notice."""
        if not self.asked.is_set():
            self.asked.set()
        self.terminate()

    async def due(self, notice: float) -> None:
        """Returns when it is time to drain: so many seconds after it was asked for, unless somebody is in a hurry."""
        await self.asked.wait()
        if notice and not self.draining.is_set():
            _log.info("stopping: not ready, serves on for %g s", notice)
            with suppress(TimeoutError):
                async with asyncio.timeout(notice):
                    await self.draining.wait()
        self.draining.set()
