"""The part of the admin API that is about audits of cascades: how they stand, and the end of an alarm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.admin.asked import Act, ApiError, ApiRequest
from gateway.admin.rollouts import why_of
from gateway.audit.leader import Auditor, UnknownAuditError

ALL = "/api/audits"
ONE = f"{ALL}/{{model}}/{{route}}"
RESUME = f"{ONE}/resume"
_ONE = re.compile(r"/api/audits/(?P<model>[^/]+)/(?P<route>[^/]+)(?P<resume>/resume)?")


def audit_route(path: str) -> str:
    """The route of a path about audits; the path itself if it is about something else."""
    found = _ONE.fullmatch(path)
    return path if found is None else RESUME if found["resume"] else ONE


def audit_routes(auditor: Auditor | None) -> dict[str, dict[str, Act]]:
    """What can be asked of whoever judges the audits; without one, nothing."""
    if auditor is None:
        return {}

    async def all_of_them(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return {"audits": msgspec.to_builtins(await auditor.shown())}

    async def one(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        reports = await auditor.shown()
        for each in reports:
            if (each.model, each.route) == _named(asked):
                return dict(msgspec.to_builtins(each))
        there = ", ".join(f"{each.model}/{each.route}" for each in reports) or "none"
        raise ApiError(404, f"the policy in force audits no such cascade; there is {there}")

    async def resume(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        try:
            return dict(msgspec.to_builtins(await auditor.resume(_named(asked), subject, await why_of(asked))))
        except UnknownAuditError as error:
            raise ApiError(404, str(error)) from error

    return {ALL: {"GET": all_of_them}, ONE: {"GET": one}, RESUME: {"POST": resume}}


def _named(asked: ApiRequest) -> tuple[str, str]:
    found = _ONE.fullmatch(asked.path)
    assert found is not None, "the route is this path's"
    return found["model"], found["route"]
