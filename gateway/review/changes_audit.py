"""What differs between the audits of one cascade in two documents, in words."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.configuration.schema_audit import Audit
from gateway.configuration.schema_cascade import Cascade
from gateway.configuration.schema_shadows import Except
from gateway.review.likeness import rules, spared
from gateway.review.words import duration, share


def audit_changes(old: Cascade, new: Cascade) -> Iterator[str]:
    """Of the audit of one cascade; and that it begins anew where what is kept, or promised, is not what it was."""
    was, now = old.audit, new.audit
    if was is None or now is None:
        if was is not now:
            yield f"its audit: {_said(was)} → {_said(now)}"
        return
    for name in Audit.__struct_fields__:
        before, after = (_value(name, each) for each in (was, now))
        if before != after:
            yield f"its audit's {Audit.__struct_encode_fields__[Audit.__struct_fields__.index(name)]}: {before} → {after}"
    if _means(old) != _means(new):
        yield "its audit begins anew, and an alarm ends"


def _means(cascade: Cascade) -> bytes:
    audit = cascade.audit
    assert audit is not None
    return msgspec.json.encode((cascade.confidence, cascade.stages, audit.promise, audit.label, audit.compare), order="sorted")


def _said(audit: Audit | None) -> str:
    return "none" if audit is None else f"{share(audit.share)} of the kept rows, promise {share(audit.promise)}, {audit.on_alarm}"


def _value(name: str, audit: Audit) -> str:
    value = getattr(audit, name)
    match name:
        case "share" | "promise":
            return share(value)
        case "timeout":
            return "the route's" if value is None else duration(value)
        case "compare":
            return rules(value) if value else "none"
        case "budget":
            return "none" if value is None else f"{value.units:g} of cost in {duration(value.seconds)}"
        case "spared":
            return spared(value or Except())
    return "none" if value is None else str(value)
