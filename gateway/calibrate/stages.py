"""Whose thresholds are wanted: the stages of a cascade, what a row costs at each, and how their columns are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.calibrate.patch import Where
from gateway.calibrate.reading import read, wrong
from gateway.configuration.load import load_policy
from gateway.configuration.problems import nearest, shown
from gateway.configuration.schema_costs import Cost
from gateway.configuration.yaml_source import parse

MOST = 3  # stages
NO_COST = "what a row costs decides which thresholds are worth while"


class WantedError(Exception):
    """What is asked for is not there; the message says what is."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Cheapest first; the last is the dearest, which the promise is about. `columns`: how each one's columns begin."""

    cost: Mapping[str, float]
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy document and the route in it whose thresholds are wanted, as plain values."""

    text: bytes
    where: Where
    route: Mapping[str, Any]
    cost: Mapping[str, float]  # of a row, by those variants of the model that are paid by the row alone

    @property
    def cascade(self) -> Mapping[str, Any] | None:
        """What the route says of a cascade."""
        found: Mapping[str, Any] | None = self.route.get("cascade")
        return found


def of_policy(text: bytes, name: str, model: str | None, route: str | None) -> Policy:
    """The route named; else the only one with a cascade, else the last. Raises PolicyError and WantedError."""
    document = load_policy(text, name)
    if model is None:
        cascades = [each for each, about in document.models.items() if any(one.cascade for one in about.routes)]
        chosen = cascades if len(cascades) == 1 else list(document.models)
        if len(chosen) > 1:
            raise WantedError(f"{name} has the models {', '.join(document.models)}: say which (--model)")
        model = chosen[0]
    model = document.aliases.get(model, model)
    if model not in document.models:
        raise WantedError(f"{name} has no model {shown(model)}{_meant(model, document.models)}")
    about = document.models[model]
    routes = [each.name for each in about.routes]
    if route is None:
        route = next((each.name for each in about.routes if each.cascade is not None), routes[-1])
    if route not in routes:
        raise WantedError(f"model {shown(model)} has no route {shown(route)}{_meant(route, routes)}")
    index = routes.index(route)
    plain: Any = parse(text, name).value
    cost = {variant: each.cost.row for variant, each in about.variants.items() if each.cost == Cost(each.cost.row)}
    return Policy(text, Where(model, route, index), plain["models"][model]["routes"][index], cost)


def prices(path: Path) -> dict[str, float]:
    """Names in the first column, numbers in the second. Raises RowsError and OSError."""
    found: dict[str, float] = {}
    for line, cells in read(path):
        name, number, *_ = [str(cell).strip() for cell in cells.values()] + ["", ""]
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] < float("inf"):
            raise wrong(
                str(path), line, f"{shown(number)} is not a price; write name,price in each line, a name of columns first"
            )
    return found


def chosen(
    named: Sequence[str],
    wanted: Sequence[str],
    about: tuple[Mapping[str, str], Mapping[str, float]],
    cascade: Sequence[str],
) -> Stages:
    """The stages `wanted`; else those of the policy's cascade, else all that the file's columns speak of. Raises WantedError.

    `named`: as columns begin. `about`: by stage, how its columns begin where they do not begin with its name, and what it costs.
    """
    aliases, cost = about
    if not named:
        raise WantedError("no column is called <stage>_label or <stage>_confidence: penstock calibrate --help says what rows are")
    known = {begin: stage for stage, begin in aliases.items()}
    there = [known.get(begin, begin) for begin in named]
    stages = list(wanted or cascade or (each for each in there if not cost or each in cost))
    if not wanted and not cascade and len(stages) > MOST:
        raise WantedError(
            f"the rows have answers of {', '.join(stages)}: choose two or three (--stages {stages[0]},{stages[-1]})"
        )
    for stage in stages:
        if stage not in there:
            begin, others = shown(aliases.get(stage, stage) + "_"), ", ".join(named) or "nobody"
            raise WantedError(
                f"no column begins with {begin}; there are answers of {others}"
                f"{_meant(stage, there)}; if its columns are called otherwise, say so (--column {stage}=NAME)"
            )
        if stage not in cost:
            raise WantedError(
                f"what does a row cost at {stage}? Say it by --prices FILE, or in the policy by the row (--policy): {NO_COST}"
            )
    if not 2 <= len(stages) <= MOST:
        raise WantedError(f"a cascade of {len(stages)} stages: thresholds are certified for two or three (--stages A,B)")
    ordered = stages if wanted or cascade else sorted(stages, key=lambda stage: cost[stage])
    if cost[ordered[-1]] <= max(cost[stage] for stage in ordered[:-1]):
        raise WantedError(
            f"the last stage, {ordered[-1]}, is not the dearest: put them cheapest first (--stages), or mend the costs"
        )
    return Stages({stage: cost[stage] for stage in ordered}, {stage: aliases.get(stage, stage) for stage in ordered})


def _meant(word: str, valid: Sequence[str] | Mapping[str, object]) -> str:
    near = nearest(word, valid)
    return f" — did you mean {shown(near)}?" if near is not None else ""
