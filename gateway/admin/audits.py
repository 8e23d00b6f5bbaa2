"""The part of the admin API that is about audits of cascades: how they stand, and the end of an alarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.admin.asked import Act, ApiError, ApiRequest, one_of
from gateway.admin.rollouts import why_of
from gateway.audit.leader import Auditor, UnknownAuditError
from gateway.audit.report import Report

ALL = "/api/audits"
ONE = f"{ALL}/{{model}}/{{route}}"
RESUME = f"{ONE}/resume"


def audit_routes(auditor: Auditor | None) -> dict[str, dict[str, Act]]:
    """What can be asked of whoever judges the audits; without one, nothing."""
    if auditor is None:
        return {}

    async def all_of_them(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return {"audits": msgspec.to_builtins(await auditor.shown())}

    async def one(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return one_of(await auditor.shown(), _name, asked.names, "audits no such cascade")

    async def resume(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        model, route = asked.names
        try:
            return dict(msgspec.to_builtins(await auditor.resume((model, route), subject, await why_of(asked))))
        except UnknownAuditError as error:
            raise ApiError(404, str(error)) from error

    return {ALL: {"GET": all_of_them}, ONE: {"GET": one}, RESUME: {"POST": resume}}


def _name(each: Report) -> tuple[str, str]:
    return each.model, each.route
