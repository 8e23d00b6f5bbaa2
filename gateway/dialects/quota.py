"""What a client is told of the limits that count its questions: RateLimit and RateLimit-Policy, as the IETF's draft has them.

draft-ietf-httpapi-ratelimit-headers-10: lists of structured fields (RFC 9651), each item a string with parameters; `q` the
quota, `w` the window in seconds, `qu` the unit where it is not requests; `r` what is left, `t` seconds until all of it is back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from backends.errors import InferenceError
from policies.call import Counted, LimitedError, Quota
from routing.demand import Verdict

Headers = tuple[tuple[str, str], ...]
_UNITS = {
    "requests": "",
    "bytes": ';qu="content-bytes"',
    "concurrency": ';qu="concurrent-requests"',
    "cost": ';qu="cost"',
    "escalations": ';qu="rows"',
}
_NOISE = 1e-6  # seconds: moments on a clock that has run long are that exact at least, and nobody waits a second for less
_SUFFIX = {kind: "" if kind == "requests" else f":{kind}" for kind in _UNITS}  # one limit may be several of the draft's policies


def quota_headers(quota: Quota | None) -> Headers:
    """Nothing where no limit counted the question."""
    if quota is None:
        return ()
    policies, left = _told(quota)
    return (("ratelimit-policy", policies), ("ratelimit", left))


def quota_writer(counted: tuple[Counted, ...]) -> Callable[[Verdict], str]:
    """What writes the same for verdicts on `counted`, as gateway.edge.reply.lines would: the names of limits, and numbers, end no
    line.
    """
    fixed = (_fixed(counted, told) for told in range(len(counted)))
    fronts = [f"\r\nratelimit-policy: {policies}\r\nratelimit: {name};r=" for policies, name, _ in fixed]

    def written(verdict: Verdict) -> str:
        return f"{fronts[verdict.told]}{verdict.remaining}{_reset(verdict, counted[verdict.told].window)}"

    return written


def quota_of(error: InferenceError) -> Headers:
    """Those of a refusal by a limit."""
    return quota_headers(error.quota) if isinstance(error, LimitedError) else ()


def _told(quota: Quota) -> tuple[str, str]:
    verdict = quota.verdict
    policies, name, window = _fixed(quota.counted, verdict.told)
    return policies, f"{name};r={verdict.remaining}{_reset(verdict, window)}"


def _reset(verdict: Verdict, window: int) -> str:
    return f";t={math.ceil(verdict.reset - _NOISE)}" if window else ""  # nobody knows when others' requests end


@lru_cache(maxsize=1024)
def _fixed(counted: tuple[Counted, ...], told: int) -> tuple[str, str, int]:
    """What is the same whatever is left: all of the policies, and the told one's name and window."""
    policies = ", ".join(f"{_name(each)};q={each.burst}{_window(each)}{_UNITS[each.kind]}" for each in counted)
    return policies, _name(counted[told]), counted[told].window


def _window(each: Counted) -> str:
    return f";w={each.window}" if each.window else ""


def _name(each: Counted) -> str:
    return f'"{each.limit}{_SUFFIX[each.kind]}"'
