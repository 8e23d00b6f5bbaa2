"""What conditions, durations, shares, counts and requests are called where people read of them."""

from __future__ import annotations

from gateway.configuration.quantities import SECONDS
from gateway.configuration.schema_tests import Caller, Request
from routing.conditions import Condition, size
from routing.explain import Finding


def missed(finding: Finding) -> str:
    """Why one condition does not hold: `tier is 'free', wanted enterprise`; of nested ones, what is in them."""
    if finding.key == "not":
        return f"{all_asked(finding.parts[0])} holds, and must not"
    if finding.parts:
        reasons = [_part(part) for part in finding.parts if any(not each.holds for each in part)]
        return f"{'none' if finding.key == 'any' else 'not all'} of its '{finding.key}' holds ({'; '.join(reasons)})"
    if finding.found is None:
        return f"has no {finding.key}, wanted {finding.wanted}"
    found = size(int(finding.found)) if finding.key == "bytes" else had(finding.found)
    return f"{finding.key} is {found}, wanted {finding.wanted}"


def _part(part: tuple[Finding, ...]) -> str:
    return " and ".join(missed(each) for each in part if not each.holds)


def all_asked(part: tuple[Finding | Condition, ...]) -> str:
    """What a match asks, in one line: `tier enterprise and rows 64..`; an empty one is `everything`."""
    return " and ".join(asked(each) for each in part) or "everything"


def asked(finding: Finding | Condition) -> str:
    """What one condition asks, whether or not it holds."""
    if not finding.parts:
        return f"{finding.key} {finding.wanted}"
    if finding.key == "not":
        return f"not ({all_asked(finding.parts[0])})"
    return f"{finding.key} of ({'; '.join(map(all_asked, finding.parts))})"


def had(found: str | float | bool) -> str:
    """What a question has, as the document would write it."""
    if isinstance(found, bool):
        return "true" if found else "false"
    return f"'{found}'" if isinstance(found, str) else f"{found}"


def duration(seconds: float) -> str:
    """As a policy writes it: `500us`, `150ms`, `2s`, `1.5m`, `24h`."""
    for unit in ("h", "m", "s", "ms"):
        size = float(SECONDS[unit])
        if seconds >= size:
            return f"{seconds / size:.10g}{unit}"
    return f"{seconds * 1e6:.10g}us" if seconds else "0s"


def share(fraction: float, sign: str = "") -> str:
    """As people write it: `5 %`, `0.1 %`; with `+` as its `sign` a change: `+5 %`, `-26.85 %`."""
    return f"{100 * fraction:{sign}.4g} %"


def counted(count: int, what: str) -> str:
    """`1 sample`, `1,200 samples`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def request(written: Request) -> str:
    """What is asked and by whom, without what is as usual: `digits, tier free, 64 rows`."""
    said = [written.model]
    said += [f"{what} {word}" for what in ("tenant", "tier", "subject") if (word := getattr(written.principal, what))]
    if written.principal.scopes != Caller().scopes:
        said.append(f"scope {' '.join(written.principal.scopes)}")
    if written.rows != 1:
        said.append("no rows" if written.rows is None else f"{written.rows} rows")
    said += [f"header {name}={value}" for name, value in written.headers.items()]
    said += [f"parameter {name}={had(value)}" for name, value in written.parameters.items()]
    said += [f"{name} of {length} characters" for name, length in written.text_length.items()]
    said += [f"prompt {name} {score:g}" for name, score in written.prompt.items()]
    sized = size(written.bytes) if written.bytes else None
    named = {"version": written.version, "priority": written.priority, "bytes": sized, "id": written.request_id}
    return ", ".join(said + [f"{what} {word}" for what, word in named.items() if word not in ("", None)])
