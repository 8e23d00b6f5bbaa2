"""Gateways of one Redis and one rollout, as real processes: kills, a store that hangs or forgets, and a bad candidate."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import pytest

from tests.faults.candidates import WARM, api, asked, policy, server, start, workers
from tests.faults.figures import LONG, Figures
from tests.real_parts import GatewayProcess, Redis, start_gateway, until

pytestmark = pytest.mark.slow

REQUESTS = 300


class Fleet:
    """Gateways of one policy; the second has two workers."""

    def __init__(self, folder: Path, redis: Redis, stack: ExitStack) -> None:
        self._folder, self._redis, self._stack = folder, redis, stack
        self._count = 0

    def gate(self, candidate: int = -1, alpha: str = "0.001%", processes: int = 1) -> GatewayProcess:
        """Another one. `candidate` answers so many questions well."""
        if not self._count:
            ports = [self._stack.enter_context(server(good)) for good in (-1, candidate)]
            self.document = policy(*ports, alpha=alpha)
        self._count += 1
        (own := self._folder / str(self._count)).mkdir()
        settings = {"store": self._redis.url, "workers": processes, "state": str(own / "state")}
        gate = start_gateway(own, self.document, settings=settings)
        self._stack.callback(gate.stop)
        return gate


@pytest.fixture
def fleet(tmp_path: Path, redis: Redis) -> Iterator[Fleet]:
    """Still without gateways."""
    with ExitStack() as stack:
        yield Fleet(tmp_path, redis, stack)


def said(gate: GatewayProcess, name: str) -> list[str]:
    """What happened to the rollout, by whom, as the gateway's audit log has it."""
    lines = (gate.folder / "state" / "audit.jsonl").read_text().splitlines()
    return [each["who"] for each in map(json.loads, lines) if each["what"] == f"rollout {name}"]


def test_several_gateways(fleet: Fleet, redis: Redis) -> None:
    """Lead one rollout. One that is killed outright costs nothing that was told; a store that hangs or is emptied moves nothing;
    no request fails."""
    one, two = fleet.gate(), fleet.gate(processes=2)
    start(one)
    until(lambda: 0.05 == api(two, "GET")["weight"], 5)
    for gate in (one, two):
        assert all(well for _, well in asyncio.run(asked(gate, REQUESTS)))
    drawn = sum(gate.metric("penstock_requests_total", variant="next") for gate in (one, two))
    until(lambda: drawn == api(one, "GET")["samples"] == api(two, "GET")["samples"], 5)
    api(two, "POST", "/pause")
    until(lambda: "paused" == api(one, "GET")["state"], 5)
    until(lambda: 1 == len(said(two, "pause")) == len(said(one, "pause")), 5)
    one.process.kill()
    one.process.wait()
    os.kill(min(workers(two)), signal.SIGKILL)
    until(lambda: 1 == len(api(two, "GET")["gateways"]), 10)
    api(two, "POST", "/resume")
    three = fleet.gate()  # knows nothing of its own
    stands = api(three, "GET")
    assert (0.05, drawn, 1) == (stands["weight"], stands["samples"], stands["attempt"])
    redis.hang()
    until(lambda: "" != api(two, "GET")["away"], 5)
    assert all(well for _, well in asyncio.run(asked(two, REQUESTS // 3)))
    assert 0.05 == api(two, "GET")["weight"]
    redis.go_on()
    until(lambda: "" == api(two, "GET")["away"], 10)
    redis.kill()
    until(lambda: "" != api(two, "GET")["away"] and "" != api(three, "GET")["away"], 5)
    redis.start()
    until(lambda: "" == api(two, "GET")["away"] == api(three, "GET")["away"], 10)
    until(lambda: api(two, "GET")["samples"] == api(three, "GET")["samples"] >= drawn, 5)
    assert (0.05, 1) == (api(three, "GET")["weight"], api(three, "GET")["attempt"])
    api(three, "POST", "/rollback")
    until(lambda: 0.0 == api(two, "GET")["weight"], 5)
    assert 0.0 == two.metric("penstock_rollout_weight")


@pytest.mark.timed
@pytest.mark.skipif(
    not LONG, reason="of one gateway it is in test_rollout.py; the share of two is a figure of a quiet machine: `make proofs`"
)
def test_a_bad_candidate_of_all(fleet: Fleet, figures: Figures) -> None:
    """What two gateways see of it together takes it back at both."""
    one, two = fleet.gate(WARM * 3, "1%"), fleet.gate(processes=2)
    start(one)

    async def both() -> list[tuple[float, bool]]:
        return sorted(chain.from_iterable(await asyncio.gather(*(asked(gate, 4 * REQUESTS) for gate in (one, two)))))

    found = asyncio.run(both())
    harmed = [moment for moment, well in found if not well]
    assert ["rolled-back"] * 2 == [api(gate, "GET")["state"] for gate in (one, two)]
    assert 1 == sum(gate.metric("penstock_rollout_verdicts_total", verdict="harmful") for gate in (one, two))
    figures.at_most("Rollout, 2 gateways", "requests harmed by a candidate at 5 % that fails always", len(harmed) / 24, 2.5, " %")
    figures.within("Rollout, 2 gateways", "from the tenth failure to no weight", harmed[-1] - harmed[min(len(harmed), 10) - 1], 5)
