"""What the admin API is asked and answers, apart from what it can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request. `headers` by lower-case name; `body` reads it, at most MAX_BODY bytes, and raises ApiError if there is more.

    `names`: what stands in the path where its route has braces.
    """

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    body: Callable[[], Awaitable[bytes]]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """`content` is JSON as plain values; `allow` lists the methods with a 405."""

    status: int
    content: Mapping[str, Any]
    allow: str = ""


class ApiError(Exception):
    """A request that has no other answer than this status and message."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": message, **more}


Act = Callable[[ApiRequest, str], Awaitable[Mapping[str, Any]]]  # the request and its operator's subject


def named(route: str, path: str) -> tuple[str, ...] | None:
    """What stands in the path where the route has braces, `{a|b}` for one of these; None if it is another route's path."""
    wanted, there = route.split("/"), path.split("/")
    found = []
    for want, word in zip(wanted, there, strict=False):
        options = want[1:-1].split("|") if want.startswith("{") else []
        if (not word or (len(options) > 1 and word not in options)) if options else want != word:
            return None
        found += [word] if options else []
    return tuple(found) if len(wanted) == len(there) else None


def one_of(reports: Sequence[T], name: Callable[[T], tuple[str, ...]], wanted: tuple[str, ...], none: str) -> dict[str, Any]:
    """The report of this name, as plain values. Raises ApiError: that the policy in force `none`, and what there is."""
    for each in reports:
        if name(each) == wanted:
            return dict(msgspec.to_builtins(each))
    raise ApiError(404, f"the policy in force {none}; there is {', '.join('/'.join(name(each)) for each in reports) or 'none'}")
