"""Puts certified thresholds into a policy document: as the part that changes, and as the whole document with it in its place.

Only the lines of the route's `cascade` (or `use`) are written anew, without comments; comments and order of all others stay.
Numbers are written with all their digits, since a row stays or goes up by the last of them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml import CSafeLoader

from gateway.configuration.yaml_source import MAX_BYTES, MAX_NODES, parse
from routing.cascade.calibration import Calibration

Plain = dict[str, Any]


class PatchError(Exception):
    """The thresholds cannot be written into this policy; the message says why."""


@dataclass(frozen=True, slots=True)
class Where:
    """A route of a policy document, by its name or, where it stands first to last, the last."""

    model: str
    route: str
    index: int  # of the route


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The certified cascade: who is asked, above which calibrated score rows stay, and the maps of all but the last."""

    use: tuple[str, ...]
    accept: tuple[float, ...]
    calibrations: tuple[Calibration, ...]


def cascade(before: Mapping[str, Any] | None, thresholds: Thresholds, confidence: Mapping[str, Any], label: str) -> Plain:
    """The `cascade` of a route. What the one `before` says of anything else than its thresholds stays. `label` "": the largest
    of the confidence's output is the label."""
    old = dict(before or {})
    known = {str(stage.get("use")): stage for stage in old.get("stages", ())}
    made = []
    steps = zip(thresholds.use, (*thresholds.accept, None), (*thresholds.calibrations, None), strict=True)
    for use, accept, calibration in steps:
        stage = {"use": use, **{key: value for key, value in known.get(use, {}).items() if key not in ("accept", "calibration")}}
        if accept is not None and calibration is not None:
            maps = {name: _Flow([list(knot) for knot in knots]) for name, knots in calibration.maps.items()}
            stage |= {"accept": float(accept), "calibration": {**({"label": label} if label else {}), "maps": maps}}
            stage = {"use": stage.pop("use"), "accept": stage.pop("accept"), **stage}
        made.append(stage)
    spoken = {key: value for key, value in confidence.items() if key != "calibration"}
    return {**old, "confidence": spoken, "stages": made}


def fragment(where: Where, cascade: Plain, said: Sequence[str]) -> str:
    """The part of the document that changes, under the names it stands under; `said` above it as comments."""
    part = {"models": {where.model: {"routes": [{"name": where.route, "cascade": cascade}]}}}
    return "".join(f"# {line}\n" for line in said) + _dump(part)


def patched(text: bytes, where: Where, cascade: Plain) -> bytes:
    """The whole document with it. Raises PatchError."""
    decoded = text.decode("utf-8-sig")
    wanted = _with(parse(text, "policy").value, where, cascade)
    if _nodes(wanted) > MAX_NODES:
        raise PatchError(f"with these maps the policy has more than {MAX_NODES:,} values")
    keys = ("models", where.model, "routes", where.index)
    spot = _spot(yaml.compose(decoded, Loader=CSafeLoader), keys)
    value: Any = wanted
    for step in spot.path:
        value = value[step]
    body = {"cascade": value["cascade"]} if spot.within else value
    lines = _dump(body).rstrip("\n").split("\n")
    if spot.under and not spot.within:  # `routes: [...]`: what was in the line goes below it
        lines = ["", *("  " + line for line in lines)]
    made = ("\n" + " " * spot.column).join(lines).replace("\n" + " " * spot.column + "\n", "\n\n")
    before, after = _cut(decoded, spot)
    whole = (before.rstrip(" ") if lines[0] == "" else before) + made + after
    whole += "" if whole.endswith("\n") else "\n"  # a gateway takes a last line without an end for a file that is cut off
    _check(whole.encode(), wanted)
    return whole.encode()


def _with(document: Any, where: Where, cascade: Plain) -> Any:
    wanted = copy.deepcopy(document)
    route = wanted["models"][where.model]["routes"][where.index]
    if "split" in route:
        raise PatchError(f"route '{where.route}' splits its requests: name one that says `use` or `cascade` (--route)")
    routes = wanted["models"][where.model]["routes"]
    routes[where.index] = {("cascade" if key == "use" else key): value for key, value in route.items()} | {"cascade": cascade}
    return wanted


@dataclass(frozen=True, slots=True)
class _Spot:
    """What is written anew: the value at `path`, or within it the one pair that says who answers. Lines and columns from 0."""

    path: tuple[str | int, ...]
    within: bool
    under: bool  # it is a key's value, not a list's
    column: int
    start: tuple[int, int]
    end: tuple[int, int]


def _spot(root: Any, keys: Sequence[str | int]) -> _Spot:
    """The smallest part that can be written anew by whole lines: nothing around it stands in braces or brackets."""
    node, column, under = root, 0, False
    for depth, step in enumerate(keys):
        if node.flow_style:
            return _Spot(tuple(keys[:depth]), False, under, column, _start(node), _end(node))
        if isinstance(step, int):
            node, under = node.value[step], False
            column = node.start_mark.column
        else:
            key, node = next(pair for pair in node.value if pair[0].value == step)
            column, under = key.start_mark.column, True
    if node.flow_style:
        return _Spot(tuple(keys), False, under, column, _start(node), _end(node))
    key, value = next(pair for pair in node.value if pair[0].value in ("cascade", "use"))
    return _Spot(tuple(keys), True, False, key.start_mark.column, _start(key), _end(value))


def _start(node: Any) -> tuple[int, int]:
    return node.start_mark.line, node.start_mark.column


def _end(node: Any) -> tuple[int, int]:
    """Where its last word ends: libyaml ends a block where the next thing begins, behind comments and empty lines."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node.end_mark.line, node.end_mark.column


def _cut(text: str, spot: _Spot) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    first, last = spot.start[0], spot.end[0]
    return "".join(lines[:first]) + lines[first][: spot.start[1]], lines[last][spot.end[1] :] + "".join(lines[last + 1 :])


def _check(text: bytes, wanted: Any) -> None:
    """That it says what it should, by the gateway's own reader."""
    if len(text) > MAX_BYTES:
        raise PatchError(f"with these maps the policy has more than {MAX_BYTES >> 20} MiB")
    if parse(text, "policy").value != wanted:
        raise PatchError("this document is written in a way that cannot be changed by a program: put the patch in by hand")


def _nodes(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(map(_nodes, value.values()))
    return 1 + sum(map(_nodes, value)) if isinstance(value, list) else 1


class _Flow(list[list[float]]):
    """Knots, which stand in brackets."""


class _Dumper(yaml.SafeDumper):
    """Lists stand further in than their key, as in the examples; nothing is written as a reference to something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Flow, lambda dumper, knots: dumper.represent_sequence("tag:yaml.org,2002:seq", knots, flow_style=True))


def _dump(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True))
