"""What the admin API is asked and answers, apart from what it can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request. `headers` by lower-case name; `body` reads it, at most MAX_BODY bytes, and raises ApiError if there is more."""

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    body: Callable[[], Awaitable[bytes]]


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
