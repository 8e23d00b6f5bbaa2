"""The part of the admin API that is about rollouts: what they have come to, and what people want of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from backends.errors import InferenceError
from gateway.admin.asked import Act, ApiError, ApiRequest, one_of
from gateway.rollout.leader import AwayError, Leader, UnknownRolloutError
from gateway.rollout.report import Report
from routing.rollout.rollout import Verb

ALL = "/api/rollouts"
ONE = f"{ALL}/{{model}}/{{name}}"
DONE = f"{ONE}/{{{'|'.join(get_args(Verb))}}}"
LONGEST = 500  # characters of a reason


class WhyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why somebody wants it; for the log, the audit log and whoever looks later."""

    why: str = ""


async def why_of(asked: ApiRequest) -> str:
    """The reason that the body gives; "" where it gives none."""
    try:
        why = msgspec.json.decode(await asked.body() or b"{}", type=WhyBody).why
    except msgspec.DecodeError as error:
        raise ApiError(400, f'{error}; send {{"why": "…"}}, or nothing') from error
    if len(why) > LONGEST or not (why.isprintable()):
        raise ApiError(400, f"why is one line of {LONGEST} characters at most")
    return why


def rollout_routes(leader: Leader | None) -> dict[str, dict[str, Act]]:
    """What can be asked of whoever leads the rollouts; without one, nothing."""
    if leader is None:
        return {}

    async def all_of_them(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return {"rollouts": msgspec.to_builtins(await leader.shown())}

    async def one(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        return one_of(await leader.shown(), _name, asked.names, "has no such rollout")

    async def act(asked: ApiRequest, subject: str) -> Mapping[str, Any]:
        model, name, verb = asked.names
        why = await why_of(asked)
        try:
            return dict(msgspec.to_builtins(await leader.act((model, name), msgspec.convert(verb, Verb), subject, why)))
        except UnknownRolloutError as error:
            raise ApiError(404, str(error)) from error
        except AwayError as error:
            raise ApiError(503, str(error)) from error
        except InferenceError as error:
            raise ApiError(409, error.message) from error

    return {ALL: {"GET": all_of_them}, ONE: {"GET": one}, DONE: {"POST": act}}


def _name(each: Report) -> tuple[str, str]:
    return each.model, each.rollout
