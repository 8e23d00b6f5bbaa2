"""The admin API under /api: what operators may ask and change, in JSON, apart from the sockets that it comes in by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gateway.admin.asked import Act, ApiError, ApiRequest, ApiResponse, named, one_of
from gateway.admin.audits import audit_routes
from gateway.admin.drains import DrainBody, Drains
from gateway.admin.experiments import experiment_routes
from gateway.admin.operators import Clearance, shown
from gateway.admin.purges import Heard, PurgeBody
from gateway.admin.rollouts import rollout_routes
from gateway.configuration.problems import PolicyError
from gateway.leads import Leads
from gateway.reload import audit_log
from gateway.reload.history import Kept, Origin
from gateway.reload.records import now
from gateway.reload.reloader import Done, Refusal, Reloader, one_line
from gateway.review.explain import Explanation, explain
from gateway.review.written import read_request
from gateway.savings import savings
from gateway.shadow.report import Report
from routing.cache.caching import Purge

MAX_BODY = 64 << 10
_log = logging.getLogger(__name__)
PATIENCE = 30.0  # seconds that a change may take before its caller is told that it goes on
Change = Coroutine[Any, Any, Done | Refusal | None]
Spawn = Callable[[Change, str], asyncio.Task[Done | Refusal | None]]
Judge = Callable[[Mapping[str, str]], Awaitable[Clearance]]


class RollbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to roll back to."""

    version: str


async def _no_shadows() -> Sequence[Report]:
    return ()


async def _nothing() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Controls:
    """What operators can do to a gateway beside changing its policy. `purge` throws kept answers away, in every process;
    `shadows` tells what all processes together have seen."""

    drains: Drains
    purge: Callable[[Purge], Awaitable[Heard]]
    shadows: Callable[[], Awaitable[Sequence[Report]]] = _no_shadows
    leads: Leads | None = None
    exposition: Callable[[], Awaitable[bytes]] = _nothing  # of all processes, from which savings are told


class Api:
    """Answers for one gateway. `judge` says whose credential it is; `spawn` starts what must not end with its caller."""

    def __init__(self, policy: Reloader, controls: Controls, judge: Judge, spawn: Spawn, patience: float = PATIENCE) -> None:
        self._policy = policy
        self._controls = controls
        self._judge = judge
        self._spawn = spawn
        self._patience = patience
        leads = controls.leads
        self._routes: dict[str, dict[str, Act]] = {
            "/api/policy": {"GET": self._in_force},
            "/api/policy/history": {"GET": self._history},
            "/api/policy/reload": {"POST": self._reload},
            "/api/policy/rollback": {"POST": self._rollback},
            "/api/policy/explain": {"POST": self._explain},
            "/api/endpoints": {"GET": self._endpoints},
            "/api/drain": {"POST": self._drain},
            "/api/cache/purge": {"POST": self._purge},
            "/api/savings": {"GET": self._savings},
            "/api/shadows": {"GET": self._shadows},
            "/api/shadows/{model}/{name}": {"GET": self._shadows},
            **rollout_routes(leads.rollouts if leads else None),
            **experiment_routes(leads.experiments if leads else None),
            **audit_routes(leads.audits if leads else None),
        }

    async def answer(self, asked: ApiRequest) -> ApiResponse:
        """What to say. Who has no say here learns nothing, not even which paths there are."""
        try:
            return ApiResponse(200, await self._act(asked))
        except ApiError as error:
            return ApiResponse(error.status, error.content, ", ".join(self._route(asked)[0]) if error.status == 405 else "")

    async def _act(self, asked: ApiRequest) -> Mapping[str, Any]:
        credentials = shown(asked.headers)
        if credentials is None:
            raise ApiError(400, "a credential stands here twice: send one")
        clearance = await self._judge(credentials)
        if clearance.status != 200:
            raise ApiError(clearance.status, clearance.error)
        methods, names = self._route(asked)
        if asked.method not in methods:
            raise ApiError(405, f"this takes {' or '.join(methods)}")
        return await methods[asked.method](replace(asked, names=names), clearance.subject)

    def _route(self, asked: ApiRequest) -> tuple[Mapping[str, Act], tuple[str, ...]]:
        """What can be done there, by method, and the names in the path."""
        for route, methods in self._routes.items():
            if (names := named(route, asked.path)) is not None:
                return methods, names
        raise ApiError(404, f"not here; there is {', '.join(self._routes)}")

    async def _in_force(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        policy, refusal = self._policy, self._policy.refusal
        return {
            "version": policy.in_force.version,
            "since": None if policy.since is None else _told(policy.since),
            "note": policy.note,
            "text": policy.in_force.standing.text.decode(errors="replace"),
            "refused": None if refusal is None else _refused(refusal),
            "versions": [each.version for each in policy.records.history.entries],
        }

    async def _history(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        history = self._policy.records.history
        return {
            "version": self._policy.in_force.version,
            "versions": [{"version": each.version, **_told(each)} for each in history.entries],
            "damaged": history.damaged,
        }

    async def _reload(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return await self._changed(self._policy.reload(Origin(subject, "api")))

    async def _rollback(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        try:
            wanted = msgspec.json.decode(await asked.body(), type=RollbackBody).version
        except msgspec.DecodeError as error:
            raise ApiError(400, f'{error}; send {{"version": "…"}}, one of GET /api/policy/history') from error
        return await self._changed(self._policy.rollback(wanted, Origin(subject, "api", "rollback")))

    async def _explain(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        body, in_force = await asked.body(), self._policy.in_force
        try:
            msgspec.json.decode(body)  # what reads it below takes YAML too, where NaN is a name
        except (msgspec.DecodeError, RecursionError) as error:
            raise ApiError(400, f"the request is not JSON: {error}") from error

        def explained() -> Explanation:
            return explain(in_force.standing.document, read_request(body, "the request", {}), in_force.version)

        try:
            found: dict[str, Any] = msgspec.to_builtins(await self._policy.beside(explained))
        except PolicyError as error:
            raise ApiError(400, one_line(error), problems=msgspec.to_builtins(error.problems)) from error
        return found

    async def _endpoints(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return await self._controls.drains.shown()

    async def _savings(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return dict(msgspec.to_builtins(savings(await self._controls.exposition())))

    async def _shadows(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        found = await self._controls.shadows()
        if not asked.names:
            return {"shadows": msgspec.to_builtins(found)}
        return one_of(found, lambda each: (each.model, each.shadow), asked.names, "has no such shadow")

    async def _drain(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        try:
            wish = msgspec.json.decode(await asked.body() or b"{}", type=DrainBody)
        except msgspec.DecodeError as error:
            raise ApiError(400, f'{error}; send {{"backend": "…", "endpoint": "host:port"}}, or {{}} for this gateway') from error
        if wish.endpoint and not wish.backend:
            raise ApiError(400, "of which backend is that endpoint? GET /api/endpoints lists them")
        if not await self._controls.drains.drain(wish):
            raise ApiError(404, f"there is no {wish} in the policy: GET /api/endpoints lists them")
        await self._noted("drain" if wish.drained else "undrain", str(wish), subject)
        return await self._controls.drains.shown(wish)

    async def _purge(self, asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        try:
            which = msgspec.json.decode(await asked.body() or b"{}", type=PurgeBody)
        except msgspec.DecodeError as error:
            raise ApiError(400, f'{error}; send {{"model": "…"}}, also variant, version, tag, or {{}} for all answers') from error
        if unknown := which.unknown(self._policy.in_force.standing.document.models):
            raise ApiError(404, f"there is no {unknown} in the policy: nothing was purged")
        heard = await self._controls.purge(Purge(*msgspec.structs.astuple(which)))
        await self._noted("purge", str(which), subject)
        return {"purged": str(which), **({} if heard is None else {"heard": heard})}

    async def _noted(self, what: str, of: str, subject: str) -> None:
        """In the log and in the audit log: something was done that changed no policy."""
        version = self._policy.in_force.version
        _log.info("%s of %s by %s", what, of, subject)
        self._policy.records.told(audit_log.Change(now(), subject, "api", what, version, version, "ok", note=of))
        await self._policy.records.written()

    async def _changed(self, change: Change) -> Mapping[str, Any]:
        """What became of it. It goes on whatever becomes of its caller: half a change would be worse than a late one."""
        task = self._spawn(change, "policy change")
        await asyncio.wait((task,), timeout=self._patience)
        await self._policy.records.written()
        if not task.done():
            raise ApiError(503, f"not done within {self._patience:g} s; it goes on: GET /api/policy says what is in force")
        if task.cancelled():
            raise ApiError(503, "the gateway is stopping: whether the change was made, GET /api/policy says after its start")
        match task.result():
            case Done(before, after, note):
                return {"version": after, "before": before, "note": note}
            case Refusal() as refusal:
                raise ApiError(409, refusal.error, **_refused(refusal), version=self._policy.in_force.version)
            case _:
                kept = ", ".join(each.version for each in self._policy.records.history.entries)
                raise ApiError(404, f"that version is not kept; kept are {kept}")


def _told(kept: Kept) -> dict[str, Any]:
    return {"time": kept.time, "who": kept.who, "via": kept.via, "what": kept.what}


def _refused(refusal: Refusal) -> dict[str, Any]:
    origin = msgspec.to_builtins(refusal.origin)
    return {"time": refusal.time, **origin, "error": refusal.error, "problems": msgspec.to_builtins(refusal.problems)}
