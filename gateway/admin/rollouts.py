"""The part of the admin API that is about rollouts: what they have come to, and what people want of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from backends.errors import InferenceError
from gateway.admin.asked import Act, ApiError, ApiRequest
from gateway.rollout.leader import AwayError, Leader, UnknownRolloutError
from routing.rollout.rollout import Verb

ALL = "/api/rollouts"
ONE = f"{ALL}/{{model}}/{{name}}"
DONE = f"{ONE}/{{{'|'.join(get_args(Verb))}}}"
LONGEST = 500  # characters of a reason
_ONE = re.compile(r"/api/rollouts/(?P<model>[^/]+)/(?P<name>[^/]+)")
_DONE = re.compile(rf"{_ONE.pattern}/(?P<verb>{'|'.join(get_args(Verb))})")


class WhyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why somebody wants it; for the log, the audit log and whoever looks later."""

    why: str = ""


def rollout_route(path: str) -> str:
    """The route of a path about rollouts; the path itself if it is about something else."""
    return DONE if _DONE.fullmatch(path) else ONE if _ONE.fullmatch(path) else path


async def why_of(asked: ApiRequest) -> str:
    """The reason that the body gives; "" where it gives none."""
    try:
        why = msgspec.json.decode(await asked.body() or b"{}", type=WhyBody).why
    except msgspec.DecodeError as error:
        raise ApiError(400, f'{error}; send {{"why": "…"}}, or nothing') from error
    if len(why) > LONGEST or not (why.isprintable()):
        raise ApiError(400, f"why is one line of {LONGEST} characters at most")
    return why


def routes(leader: Leader | None) -> dict[str, dict[str, Act]]:
    """What can be asked of whoever leads the rollouts; without one, nothing."""
    if leader is None:
        return {}

    async def all_of_them(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return {"rollouts": msgspec.to_builtins(await leader.shown())}

    async def one(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        found = _ONE.fullmatch(asked.path)
        reports = await leader.shown()
        for each in reports:
            if found is not None and (each.model, each.rollout) == (found["model"], found["name"]):
                return dict(msgspec.to_builtins(each))
        there = ", ".join(f"{each.model}/{each.rollout}" for each in reports) or "none"
        raise ApiError(404, f"the policy in force has no such rollout; there is {there}")

    async def act(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        found = _DONE.fullmatch(asked.path)
        assert found is not None, "the route is this path's"
        why = await why_of(asked)
        verb = msgspec.convert(found["verb"], Verb)
        try:
            return dict(msgspec.to_builtins(await leader.act((found["model"], found["name"]), verb, subject, why)))
        except UnknownRolloutError as error:
            raise ApiError(404, str(error)) from error
        except AwayError as error:
            raise ApiError(503, str(error)) from error
        except InferenceError as error:
            raise ApiError(409, error.message) from error

    return {ALL: {"GET": all_of_them}, ONE: {"GET": one}, DONE: {"POST": act}}
