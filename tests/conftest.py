"""What all tests share: the gateway's own event loop, and hypothesis without a stopwatch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop
from hypothesis import settings

settings.register_profile("penstock", deadline=None)  # a busy machine is not a failure
settings.load_profile("penstock")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test runs on the loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}
