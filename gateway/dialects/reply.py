"""The headers that tell a client what happened to its question; over gRPC the same, as metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from backends.errors import InferenceError, invalid
from gateway import __version__
from gateway.dataplane import Outcome
from gateway.dialects.kept import cache_headers, hit

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRITON_NOTE = re.compile(r"\A\[request id: [^\]]*\] ")
_MAX_TIMEOUT_MS = 24 * 3600 * 1000

Headers = tuple[tuple[str, str], ...]


class Told(NamedTuple):
    """What a client is told of its answer: `fixed` repeats from answer to answer and is the same object then."""

    fixed: Headers
    own: Headers


def told(outcome: Outcome, request_id: str, seconds: float) -> Told:
    """`seconds` is the time since the request's first byte, backends included."""
    answer, route, policy = outcome.answer, outcome.plan.route, outcome.policy
    shares = answer.shares
    if len(shares) == 1:
        share = shares[0]
        names = (share.model, share.version, share.variant)
    else:
        variant = ",".join([f"{share.variant}={share.rows}" for share in shares])
        name = ",".join([share.model for share in shares])
        version = ",".join([share.version for share in shares])
        names = (name, version, variant)
    fixed = _fixed(names, route, answer.escalation, answer.cost, policy)
    own = (("x-request-id", request_id), ("server-timing", _durations(seconds, answer.backend_seconds)))
    return Told(fixed, own if answer.cached is None else (*own, *cache_headers(answer.cached)))


def told_alike(request_id: str, seconds: float, backend: float) -> str:
    """What of `told` is another request's each time, `backend` of the seconds spent waiting for one.

    As gateway.edge.reply.lines writes it: an id that was taken, and numbers, end no line.
    """
    return f"\r\nx-request-id: {request_id}\r\nserver-timing: {_durations(seconds, backend)}"


def told_again(request_id: str, seconds: float, ttl: float) -> str:
    """The same of an answer from the cache that is fresh for `ttl` seconds."""
    return f"{told_alike(request_id, seconds, 0.0)}\r\ncache-status: {hit(ttl)}"


def _durations(seconds: float, backend: float) -> str:
    own = seconds - backend
    return f"gateway;dur={own * 1000 if own > 0.0 else 0.0:.3f}, backend;dur={backend * 1000:.3f}"


@lru_cache(maxsize=1024)
def _fixed(names: tuple[str, str, str], route: str, escalation: str, cost: float, policy: str) -> Headers:
    """`names` are the model's, its version's and the variant's."""
    name, version, variant = names
    return (
        ("x-model-name", name),
        ("x-model-version", version),
        ("x-penstock-route", route),
        ("x-penstock-variant", variant),
        ("x-penstock-escalation", escalation),
        ("x-penstock-cost", f"{cost:.10g}"),
        ("x-penstock-policy", policy),
    )


def whole_seconds(pause: float) -> str:
    """A pause of so many seconds as Retry-After has it: never shorter, and at least 1."""
    return str(max(1, math.ceil(pause)))


def request_id(headers: Mapping[str, str], made: str) -> str:
    """The client's X-Request-Id if it is short and harmless, else the one made for it."""
    given = headers.get("x-request-id")
    return given if given is not None and _SANE_ID.fullmatch(given) else made


def client_timeout(headers: Mapping[str, str]) -> float | None:
    """The shortest wait the client asks for, in seconds; None if it says nothing. Raises INVALID."""
    found: float | None = None
    for name in ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms"):
        value = headers.get(name)
        if value is None:
            continue
        if not (value.isascii() and value.isdigit() and 0 < len(value) <= 9 and 0 < int(value) <= _MAX_TIMEOUT_MS):
            raise invalid(f"{name} must be a whole number of milliseconds from 1 to {_MAX_TIMEOUT_MS}", "timeout")
        found = int(value) / 1000 if found is None else min(found, int(value) / 1000)
    return found


def version_asked(named: str, headers: Mapping[str, str]) -> str:
    """The version that the client insists on: the one `named` in the path or the message, or X-Model-Version; "" for none.

    Raises INVALID where the two differ.
    """
    given = headers.get("x-model-version")
    if not given:
        return named
    if named and given != named:
        raise invalid("x-model-version is not the version that the path or message names: give one of them", "version")
    return given


def failure_headers(route: str, seconds: float) -> Headers:
    """What is known of a question that failed on its way along a route; "" where it got to none.

    Nobody knows then how much of the time was backends', so it is told as a whole.
    """
    return (("x-penstock-route", route), ("server-timing", f"total;dur={seconds * 1000:.3f}")) if route else ()


def public_text(error: InferenceError) -> str:
    """The error's text without Triton's own note of the request, which stands in front of some of its texts."""
    return _TRITON_NOTE.sub("", error.message)


def server_metadata() -> dict[str, Any]:
    """What the gateway says of itself; its extensions are those it carries, whatever its backends have."""
    extensions = [
        "classification",
        "binary_tensor_data",
        "model_configuration",
        "statistics",
        "model_repository(index)",
        "parameters",
    ]
    return {"name": "penstock", "version": __version__, "extensions": extensions}
