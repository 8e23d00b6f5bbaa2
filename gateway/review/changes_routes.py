"""What differs between the routes of one model in two documents: which come, go, move or are renamed, and what each does now."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from gateway.configuration.problems import path_text, shown
from gateway.configuration.schema_cascade import Calibration, Cascade, Confidence
from gateway.configuration.schema_policy import DEFAULT_UNIT, Model, Route
from gateway.configuration.tables import match_of
from gateway.review.changes_audit import audit_changes
from gateway.review.movement import movement
from gateway.review.words import all_asked, duration, share
from routing.conditions import conditions


class Change(NamedTuple):
    """One difference: where in the document, and what it is."""

    path: str
    text: str


def route_changes(path: tuple[str | int, ...], old: Model, new: Model) -> Iterator[Change]:
    """Of the routes of one model. `path` is the model's."""
    was, now = ({route.name: route for route in model.routes} for model in (old, new))
    renamed = _renamed(was, now)
    for name, route in was.items():
        if name not in now and name not in renamed:
            yield Change(_at(path, name), f"route {shown(name)} goes: it took {_match(route)}")
    for before, after in renamed.items():
        again = "; its split deals every unit anew, for a unit's side hangs on the route's name" if was[before].split else ""
        yield Change(_at(path, after), f"route {shown(before)} is called {shown(after)} now{again}")
    came = [name for name in now if name not in was and name not in renamed.values()]
    for name in came:
        yield Change(
            _at(path, name), f"route {shown(name)} is new, {_place(name, new)}: {_match(now[name])} → {_action(now[name])}"
        )
    kept = {renamed.get(name, name): route for name, route in was.items() if renamed.get(name, name) in now}
    for name in _moved(list(kept), [name for name in now if name in kept]):
        yield Change(_at(path, name), f"route {shown(name)} moves: it stands {_place(name, new)} now")
    for name, route in kept.items():
        yield from (Change(_at(path, name, key), text) for key, text in _one(route, now[name], (old, new)))


def _at(path: tuple[str | int, ...], name: str, *keys: str) -> str:
    return path_text((*path, "routes", name, *keys))


def _renamed(was: Mapping[str, Route], now: Mapping[str, Route]) -> dict[str, str]:
    """Routes that are the same but for their names."""
    found: dict[str, str] = {}
    for name, route in was.items():
        if name in now:
            continue
        same = (each for each in now if each not in was and each not in found.values() and replace(now[each], name=name) == route)
        if (other := next(same, None)) is not None:
            found[name] = other
    return found


def _moved(was: list[str], now: list[str]) -> list[str]:
    """The fewest names that must move to make one order of the other: all but the longest sequence that both have."""
    places = [was.index(name) for name in now]
    ends: list[int] = []  # the lowest place at which a rising sequence of that length ends
    at: list[int] = []  # the length of the longest that ends with each name
    for place in places:
        length = bisect_left(ends, place)
        ends[length : length + 1] = [place]
        at.append(length)
    stay: set[str] = set()
    wanted = len(ends) - 1
    for index in range(len(now) - 1, -1, -1):
        if at[index] == wanted:
            stay.add(now[index])
            wanted -= 1
    return [name for name in now if name not in stay]


def _place(name: str, model: Model) -> str:
    names = [route.name for route in model.routes]
    after = names[names.index(name) + 1 :]
    return f"before {shown(after[0])}" if after else "last"


def _match(route: Route) -> str:
    return all_asked(conditions(match_of(route.match)))


def _action(route: Route) -> str:
    if route.use is not None:
        return f"use {route.use}"
    if route.split is not None:
        return f"split {_weights(route.split)} by {route.unit or DEFAULT_UNIT}"
    assert route.cascade is not None, "a checked route has an action"
    return f"cascade {_stages(route.cascade)}"


def _weights(split: Mapping[str, float]) -> str:
    return ", ".join(f"{variant} {weight:g}" for variant, weight in split.items())


def _budget(cascade: Cascade) -> str:
    return "all" if cascade.budget is None else share(cascade.budget.share)


def _stages(cascade: Cascade) -> str:
    return " → ".join(stage.use + ("" if stage.accept is None else f" (accept {stage.accept:g})") for stage in cascade.stages)


def _one(old: Route, new: Route, models: tuple[Model, Model]) -> Iterator[tuple[str, str]]:
    """What is different in one route: under which key, and what."""
    if match_of(old.match) != match_of(new.match):
        yield "match", f"{_match(old)} → {_match(new)}"
    if old.split is not None and new.split is not None:
        yield from _split(old, new)
    elif old.cascade is not None and new.cascade is not None:
        yield from _cascade(old.cascade, new.cascade)
    elif _action(old) != _action(new):
        yield "use", f"{_action(old)} → {_action(new)}"
    was, now = old.timeout or models[0].timeout, new.timeout or models[1].timeout
    if was != now and (old.timeout or new.timeout):  # else it is the model's, and told there
        yield "timeout", f"{duration(was)} → {duration(now)}"
    if old.sample != new.sample:
        yield "sample", f"{share(old.sample)} → {share(new.sample)} of its requests are recorded"


def _split(old: Route, new: Route) -> Iterator[tuple[str, str]]:
    before, after = old.split or {}, new.split or {}
    was, now = old.unit or DEFAULT_UNIT, new.unit or DEFAULT_UNIT
    if was != now:
        yield "unit", f"by {was} → by {now}: every unit is dealt anew"
    if before == after:
        return
    weights = f"{_weights(before)} → {_weights(after)}"
    if was != now:
        yield "split", weights
        return
    moves = ", ".join(f"{share(part)} from {source} to {target}" for (source, target), part in movement(before, after).items())
    yield "split", f"{weights}: of its {_units(now)} move {moves}" if moves else f"{weights}: nobody moves"


def _units(unit: str) -> str:
    return f"units ({unit})" if ":" in unit else f"{unit}s"


def _cascade(old: Cascade, new: Cascade) -> Iterator[tuple[str, str]]:
    if (was := _metric(old.confidence)) != (now := _metric(new.confidence)):
        yield "cascade", f"confidence: {was} → {now}"
    if old.speculate != new.speculate:
        yield "cascade", f"it asks ahead {_ahead(old.speculate)} → {_ahead(new.speculate)}"
    if [stage.use for stage in old.stages] != [stage.use for stage in new.stages]:
        yield "cascade", f"it was {_stages(old)}; it is {_stages(new)}"
        return
    for was_stage, now_stage in zip(old.stages, new.stages, strict=True):
        if was_stage.accept != now_stage.accept:
            yield "cascade", f"{now_stage.use} keeps rows from {_accept(was_stage.accept)} → {_accept(now_stage.accept)}"
        before, after = (stage.calibration or each.confidence.calibration for stage, each in ((was_stage, old), (now_stage, new)))
        if now_stage.accept is not None and before != after:
            yield "cascade", f"what the scores of {now_stage.use} are worth: {_maps(before)} → {_maps(after)}"
    if old.budget != new.budget:
        yield "cascade", f"rows that may go up: {_budget(old)} → {_budget(new)}"
    yield from (("cascade", text) for text in audit_changes(old, new))


def _metric(confidence: Confidence) -> str:
    read = f"{confidence.path} in {confidence.output}" if confidence.path else confidence.output
    of = f"the softmax of {read}" if confidence.logits else read
    return f"{confidence.metric} of {of}" if of else confidence.metric


def _maps(calibration: Calibration | None) -> str:
    if calibration is None:
        return "as they are"
    by = f" by output {calibration.label}" if calibration.label else ""
    knots = sum(len(each) for each in calibration.maps.values())
    digest = hashlib.sha256(msgspec.json.encode(calibration, order="sorted")).hexdigest()[:8]
    return f"{len(calibration.maps)} maps{by}, {knots} knots ({digest})"


def _ahead(least: float | None) -> str:
    return "never" if least is None else f"where {share(least)} of the rows are expected to go up"


def _accept(accept: float | None) -> str:
    return "any confidence" if accept is None else f"{accept:g}"
