"""A loop that is held up on purpose."""

from __future__ import annotations

import asyncio
import time

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.stall import EVERY, StallProbe


async def test_a_held_loop_is_seen() -> None:
    """A tick comes late by what the loop was held for, less at most one tick, and lands in the metric's bucket."""
    late = list[float]()
    metrics = Metrics()
    ticked = asyncio.Event()

    def tick(seconds: float) -> None:
        late.append(seconds)
        metrics.stalled(seconds)
        ticked.set()

    probe = StallProbe(tick)
    await ticked.wait()
    late.clear()
    ticked.clear()
    time.sleep(0.3)  # noqa: ASYNC251 - what must never happen
    await ticked.wait()
    probe.stop()
    assert 0.3 - EVERY - 0.005 <= late[0]
    lines = metrics.exposition().decode().splitlines()
    count = next(int(line.split()[1]) for line in lines if line.startswith("penstock_loop_stall_seconds_count"))
    assert any(line == f'penstock_loop_stall_seconds_bucket{{le="0.25"}} {count - 1}' for line in lines)


async def test_a_stopped_probe_ticks_no_more() -> None:
    """It leaves nothing on the loop."""
    late = list[float]()
    probe = StallProbe(late.append)
    probe.stop()
    await asyncio.sleep(2 * EVERY)
    assert [] == late
