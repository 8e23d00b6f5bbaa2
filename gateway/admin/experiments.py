"""The part of the admin API that is about A/B tests: what they have found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.admin.asked import Act, ApiRequest, one_of
from gateway.experiment.experiments import Experiments
from gateway.experiment.report import Report

ALL = "/api/experiments"
ONE = f"{ALL}/{{model}}/{{name}}"


def experiment_routes(experiments: Experiments | None) -> dict[str, dict[str, Act]]:
    """What can be asked of whoever keeps them; without one, nothing."""
    if experiments is None:
        return {}

    async def all_of_them(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return {"experiments": msgspec.to_builtins(await experiments.shown())}

    async def one(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return one_of(await experiments.shown(), _name, asked.names, "has no rollout of that name with feedback")

    return {ALL: {"GET": all_of_them}, ONE: {"GET": one}}


def _name(each: Report) -> tuple[str, str]:
    return each.model, each.rollout
