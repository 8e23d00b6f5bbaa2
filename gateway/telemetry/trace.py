"""Lets a client's trace go through to the backend: W3C Trace Context level 1, passed on unchanged, or dropped if invalid."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Section 3.2: version, trace id, parent id, flags. A later version may go on behind another dash; version ff is forbidden.
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
# Section 3.3.1.3: a key, perhaps of a tenant at a system; a value of up to 256 printable characters but ',' and '='.
_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
_MAX_MEMBERS = 32
_MAX_STATE = 512  # characters that everybody should pass on (section 3.3.1.5)
_LONGEST_PARENT = 256  # characters; version 00 has 55


def passed_on(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What to send to the backend: nothing, `traceparent`, or that and `tracestate`. Names are in lower case on both sides."""
    parent = headers.get("traceparent")
    if parent is None or not trace_id(parent):
        return ()  # without a valid parent the state must not be read (section 3.3)
    state = _state(headers.get("tracestate", ""))
    return (("traceparent", parent), ("tracestate", state)) if state else (("traceparent", parent),)


def trace_id(parent: str) -> str:
    """The trace's 32 hexadecimal digits; "" for a traceparent that is not valid."""
    found = _PARENT.fullmatch(parent) if len(parent) <= _LONGEST_PARENT else None
    if found is None or (found[1] == "00" and found[3]):
        return ""
    return found[2]


def _state(given: str) -> str:
    """The list as given, without empty members and without those at the end for which there is no room; "" if any is invalid."""
    members = [member for part in given.split(",") if (member := part.strip(" \t"))]
    if len(members) > _MAX_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    if len({member.partition("=")[0] for member in members}) != len(members):
        return ""
    kept = ",".join(members)
    while len(kept) > _MAX_STATE:
        members.pop()
        kept = ",".join(members)
    return kept
