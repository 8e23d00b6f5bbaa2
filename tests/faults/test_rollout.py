"""Rollouts of real processes: a bad candidate harms few, one that changes nothing stays, and a kill forgets nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.candidates import WARM, api, asked, policy, server, start, workers
from tests.faults.figures import LONG, Figures
from tests.real_parts import start_gateway, until

pytestmark = pytest.mark.slow

REQUESTS = 20_000 if LONG else 2_000


@pytest.mark.timed
@pytest.mark.parametrize("processes", [1, 2])
def test_a_bad_candidate(tmp_path: Path, processes: int, figures: Figures) -> None:
    """At most one request in a hundred is harmed, and the candidate has no weight soon after the evidence suffices."""
    with ExitStack() as stack:
        ports = [stack.enter_context(server(good)) for good in (-1, WARM * processes)]
        gate = start_gateway(tmp_path, policy(*ports), settings={"workers": processes, "state": str(tmp_path / "state")})
        stack.callback(gate.stop)
        start(gate)
        found = asyncio.run(asked(gate, REQUESTS))
        stands = api(gate, "GET", "")
        assert ("rolled-back", 0.0) == (stands["state"], stands["weight"])
        assert 0.0 == gate.metric("penstock_rollout_weight")
        assert 1 == gate.metric("penstock_rollout_verdicts_total", verdict="harmful")
        harmed = [moment for moment, well in found if not well]
        name = f"Rollout, {processes} worker{'s' * (processes > 1)}"
        figures.at_most(name, "requests harmed by a candidate at 5 % that fails always", 100 * len(harmed) / REQUESTS, 1, " %")
        enough = harmed[min(len(harmed), 10) - 1]  # more than what the evidence needs
        figures.within(
            name, "from the tenth failure to no weight", max(harmed[-1] - enough, stands["notes"][-1]["at"] - enough), 5
        )


def test_the_same_candidate_and_a_kill(tmp_path: Path) -> None:
    """A candidate that changes nothing is not taken back; killed outright and started again, the gateway goes on where it was."""
    with ExitStack() as stack:
        ports = [stack.enter_context(server(-1)) for _ in range(2)]
        settings = {"state": str(tmp_path / "state")}
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        gate = start_gateway(tmp_path / "one", policy(*ports, alpha="0.001%"), settings=settings)
        stack.callback(gate.stop)
        start(gate)
        assert all(well for _, well in asyncio.run(asked(gate, REQUESTS // 3)))
        drawn = gate.metric("penstock_requests_total", variant="next")
        assert drawn
        until(lambda: drawn == api(gate, "GET", "")["samples"], 10)
        before = api(gate, "GET", "")
        assert before["state"] in ("running", "frozen")
        until(lambda: _stored(tmp_path / "state", drawn), 10)
        gate.process.kill()
        gate.process.wait()
        again = start_gateway(tmp_path / "two", policy(*ports, alpha="0.001%"), settings=settings)
        stack.callback(again.stop)
        after = api(again, "GET", "")
        assert [before[key] for key in ("weight", "attempt", "samples", "notes")] == [
            after[key] for key in ("weight", "attempt", "samples", "notes")
        ]
        assert all(well for _, well in asyncio.run(asked(again, REQUESTS // 6)))
        assert again.metric("penstock_requests_total", variant="next")


def _stored(state: Path, samples: float) -> bool:
    from gateway.rollout.file import load

    return any(samples == each.rollout.samples for each in load(state))


def test_kills_of_workers_and_of_their_parent(tmp_path: Path) -> None:
    """In the middle of a ramp: one worker killed outright changes nothing, and after all of them the next gateway goes on."""
    steps: list[dict[str, Any]] = [{"weight": "5%", "samples": 1}, {"weight": "25%", "hold": "24h"}]
    with ExitStack() as stack:
        document = policy(*(stack.enter_context(server(-1)) for _ in range(2)), alpha="0.001%", steps=steps)
        settings = {"state": str(tmp_path / "state"), "workers": 2}
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        gate = start_gateway(tmp_path / "one", document, settings=settings)
        stack.callback(gate.stop)
        start(gate)
        while 0.25 != api(gate, "GET")["weight"]:
            asyncio.run(asked(gate, 200))
        before = workers(gate)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(workers(gate)) == 2 and min(before) not in workers(gate), 10)
        until(lambda: 2 == gate.metric("penstock_workers"), 10)
        asyncio.run(asked(gate, 100))
        until(lambda: 10 < api(gate, "GET")["samples"] and _stored(tmp_path / "state", api(gate, "GET")["samples"]), 10)
        stands = api(gate, "GET")
        assert ("running", 0.25, 1) == (stands["state"], stands["weight"], stands["step"])
        gate.process.kill()
        gate.process.wait()
        again = start_gateway(tmp_path / "two", document, settings=settings)
        stack.callback(again.stop)
        after = api(again, "GET")
        for key in ("state", "weight", "step", "attempt", "samples", "notes", "guards"):
            assert stands[key] == after[key], key
        asyncio.run(asked(again, 100))
        until(lambda: stands["samples"] < api(again, "GET")["samples"], 10)
