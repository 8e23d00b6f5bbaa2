"""The part of the admin API that is about A/B tests: what they have found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.admin.asked import Act, ApiError, ApiRequest
from gateway.experiment.experiments import Experiments

ALL = "/api/experiments"
ONE = f"{ALL}/{{model}}/{{name}}"
_ONE = re.compile(r"/api/experiments/(?P<model>[^/]+)/(?P<name>[^/]+)")


def experiment_route(path: str) -> str:
    """The route of a path about A/B tests; the path itself if it is about something else."""
    return ONE if _ONE.fullmatch(path) else path


def experiment_routes(experiments: Experiments | None) -> dict[str, dict[str, Act]]:
    """What can be asked of whoever keeps them; without one, nothing."""
    if experiments is None:
        return {}

    async def all_of_them(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return {"experiments": msgspec.to_builtins(await experiments.shown())}

    async def one(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        found, reports = _ONE.fullmatch(asked.path), await experiments.shown()
        for each in reports:
            if found is not None and (each.model, each.rollout) == (found["model"], found["name"]):
                return dict(msgspec.to_builtins(each))
        there = ", ".join(f"{each.model}/{each.rollout}" for each in reports) or "none"
        raise ApiError(404, f"the policy in force has no rollout of that name with feedback; there is {there}")

    return {ALL: {"GET": all_of_them}, ONE: {"GET": one}}
