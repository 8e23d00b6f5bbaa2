"""Those who decide for all processes: made together, kept together, and what clients tell reaches the bets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from gateway.aside import here
from gateway.leads import Leads, Reach
from gateway.reload.policy_file import PolicyFile
from gateway.reload.records import Records
from gateway.reload.reloader import Judged, Reloader, judged
from gateway.spawner import Spawner
from gateway.telemetry.metrics import ParentMetrics

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    variants:
      live: {backend: triton, model: digits, version: "1", cost: 1}
      next: {backend: triton, model: digits, version: "2", cost: 1}
    routes: [{name: default, use: live}]
    rollouts:
      live: {candidate: next, unit: request, steps: [{weight: 50%}], guards: [{metric: error-rate}], proof: person}
"""


async def nothing(*_: object) -> list[Any]:
    return []


async def put(_: Judged) -> None:
    raise AssertionError("nobody reloads here")


async def test_all_of_them(tmp_path: Path) -> None:
    """They see the policy in force, have nothing to say of processes that tell nothing, and go round under their names."""
    path, spawner, names = tmp_path / "policy.yaml", Spawner(), list[str]()
    path.write_text(POLICY)
    file = PolicyFile(path, here)
    reading = file.first()
    records = Records(None, here, spawner.spawn)
    policy = Reloader(file, (reading, judged(reading.text, str(path))), put, lambda: None, records)
    leads = Leads(policy, Reach(nothing, nothing, nothing, nothing, None), tmp_path / "state", here, ParentMetrics())
    (order,) = leads.rollouts.orders
    assert ("digits", "live", "pending") == (order.model, order.stable, order.state)
    assert [] == leads.audits.orders
    assert [] == await leads.experiments.shown()

    def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        names.append(name)
        return spawner.spawn(work, name)

    leads.keep(spawn)
    assert ["rollouts", "audits", "experiments"] == names
    await spawner.close()
