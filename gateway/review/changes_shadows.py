"""What differs between the shadows of one model in two documents, and what one of them is, in words."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.configuration.problems import path_text, shown
from gateway.configuration.quantities import Rate
from gateway.configuration.schema_policy import Model
from gateway.configuration.schema_shadows import Except, Record, Shadow
from gateway.review.changes_routes import Change
from gateway.review.likeness import rules, spared
from gateway.review.words import duration, share


def shadow_changes(path: tuple[str | int, ...], old: Model, new: Model) -> Iterator[Change]:
    """Of the shadows of one model. `path` is the model's."""
    was, now = ({shadow.name: shadow for shadow in model.shadows} for model in (old, new))
    for name in dict.fromkeys([*was, *now]):
        here = (*path, "shadows", name)
        if name not in now:
            yield Change(path_text(here), f"shadow {shown(name)} goes: {_said(was[name])}")
        elif name not in was:
            yield Change(path_text(here), f"shadow {shown(name)} is new: {_said(now[name])}")
        else:
            yield from _one(here, was[name], now[name])


def _one(path: tuple[str | int, ...], old: Shadow, new: Shadow) -> Iterator[Change]:
    again = "" if _means(old) == _means(new) else "; what was counted so far counts no more"
    if (old.of, old.route, old.to) != (new.of, new.route, new.to):
        yield Change(path_text(path), f"{_said(old)} → {_said(new)}{again}")
    elif old.fraction != new.fraction:
        yield Change(path_text((*path, "fraction")), f"{share(old.fraction)} → {share(new.fraction)} of the questions")
    if old.compare != new.compare:
        yield Change(path_text((*path, "compare")), f"{rules(old.compare)} → {rules(new.compare)}{again}")
    for name in ("noise", "margin", "alpha", "timeout", "max_in_flight", "queue", "budget", "payloads"):
        was, now = (_value(name, getattr(each, name)) for each in (old, new))
        if was != now:
            yield Change(path_text((*path, name)), f"{was} → {now}")
    if old.record != new.record:
        yield Change(path_text((*path, "record")), f"{_recorded(old.record)} → {_recorded(new.record)}")
    if (old.spared or Except()) != (new.spared or Except()):
        yield Change(path_text((*path, "except")), f"{spared(old.spared)} → {spared(new.spared)}")


def _means(shadow: Shadow) -> object:
    return shadow.of, shadow.route, shadow.to, shadow.compare


def _said(shadow: Shadow) -> str:
    whose = " of ".join(filter(None, (shadow.of, f"route {shadow.route}" if shadow.route else "")))
    return f"{share(shadow.fraction)} of the questions of {whose} to {shadow.to}"


def _recorded(record: Record | None) -> str:
    if record is None:
        return "no pairs of answers are recorded"
    where = f" of {record.output}" if record.output else ""
    return f"pairs are recorded by {record.metric}{where}, label {record.label or 'the largest'}"


def _value(name: str, value: object) -> str:
    if isinstance(value, Rate):
        return f"{value.units:g} of cost in {duration(value.seconds)}"
    if isinstance(value, bool) or value is None:
        return {True: "kept", False: "not kept", None: "none"}[value]
    if isinstance(value, float):
        return duration(value) if name == "timeout" else share(value)
    return str(value)
