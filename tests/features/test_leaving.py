"""Leaving: a client that hangs up ends the work done for it, and a gateway that stops ends it in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.features.conftest import PLAIN, framed, packed
from tests.features.oip_server import Waiting

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start


async def test_a_client_that_leaves(digits: Running) -> None:
    """Its question is taken back from the backend, counted as 499 and as abandoned, and holds nothing any more."""
    digits.backend.scripts["digits_fast"] = waiting = Waiting()
    body, headers = packed([0])
    _, writer = await asyncio.open_connection("127.0.0.1", digits.gateway.ports.http.port)
    writer.writelines(framed("POST", "/v2/models/digits/infer", {**digits.credential("free"), **headers}, body))
    await waiting.entered.wait()
    assert 1 == (await digits.metrics())["penstock_in_flight", ("triton",)]
    writer.close()
    await waiting.left.wait()
    metrics = await digits.metrics()
    assert 0 == metrics["penstock_in_flight", ("triton",)]
    assert 1 == metrics["penstock_requests_total", ("digits", "default", "", "499")]
    assert [1, 1] == [metrics["penstock_abandoned_total", (stage,)] for stage in ("request", "backend")]
    assert 1 == metrics["penstock_backend_requests_total", ("triton", f"127.0.0.1:{digits.backend.port}", "abandoned")]
    assert 1 == metrics["penstock_cost_total", ("digits", "fast")]  # the backend had it in hand
    assert 0 == metrics["penstock_cost_baseline_total", ("digits",)]  # and nobody was answered


async def test_stopping_lets_requests_end(digits: Running) -> None:
    """A gateway told to stop takes no new connection, answers what is in flight, and is then gone without a trace."""
    digits.backend.scripts["digits_fast"] = waiting = Waiting()
    asking = asyncio.create_task(digits.infer([3]))
    await waiting.entered.wait()
    stopping = asyncio.create_task(digits.stop())
    await asyncio.sleep(0)
    assert not digits.gateway.ready()
    waiting.go.set()
    reply = await asking
    assert ([103], "close") == (reply.output("label"), reply.headers["connection"])
    await stopping
    assert 0 == digits.gateway.ports.http.connections
    try:
        await digits.infer([0])
    except OSError:
        return
    raise AssertionError("somebody listens still")


async def test_stopping_does_not_wait_for_ever(start: Start) -> None:
    """What has not ended when the grace is over is cut off, and its backend is left."""
    gate = await start(PLAIN, drain="{grace: 50ms}")
    gate.backend.scripts["digits_fast"] = waiting = Waiting()
    asking = asyncio.create_task(gate.infer([3]))
    await waiting.entered.wait()
    await gate.stop()
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], asyncio.IncompleteReadError | ConnectionError)
    await waiting.left.wait()
