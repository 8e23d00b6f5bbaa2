"""Asks the data plane itself what it would decide about a request, with nobody behind it: no backend, no clock, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from backends.errors import InferenceError
from gateway.configuration.schema_tests import Request
from gateway.review import deciding
from gateway.review.written import inference_of, inquiry_of, principal_of
from gateway.snapshot import Model, Snapshot
from policies.authorize import demand
from routing.conditions import Looks
from routing.explain import Explainer, Possibility
from routing.limits import Limit, binds
from routing.match import Question, RouteTable
from routing.plan import Plan
from routing.planner import Planner
from routing.prompt.scorer import UNIT


class Decision(NamedTuple):
    """`explainer` is the model's, None if there is no such model; `question` is what its routes were asked, None if nothing.

    Of a split that nothing in the request decides there is one possibility for each side, else one in all. `limits` are the
    names of those that count the request, if it gets so far.
    """

    explainer: Explainer | None
    question: Question | None
    possibilities: tuple[Possibility, ...]
    limits: tuple[str, ...] = ()


class Decider:
    """Decides about requests by one document. `tables` by public model, `aliases` by the name that clients may use instead.

    Which versions a backend serves is not known here: of `latest(n)` any version is taken to be one.
    """

    def __init__(self, tables: Mapping[str, RouteTable], aliases: Mapping[str, str], limits: tuple[Limit, ...] = ()) -> None:
        self._tables = tables
        self._aliases = aliases
        self._limits = limits
        self._explainers: dict[str, Explainer] = {}

    def decide(self, request: Request) -> Decision:
        """What comes of the request; a refusal is a possibility too."""
        explainer = self._explainer(request.model)
        if explainer is None:
            return Decision(None, None, (Possibility(self._ask(request, {})),))
        seen: list[Question] = []
        made = self._ask(request, _noting(explainer, explainer.plan, request, seen))
        if not seen:
            return Decision(explainer, None, (Possibility(made),))
        sides = [
            Possibility(self._ask(request, _noting(explainer, plan, request, seen)), share)
            for plan, share in explainer.sides(seen[0])
        ]
        possibilities = tuple(sides) or (Possibility(made),)
        planned = any(isinstance(each.result, Plan) for each in possibilities)
        return Decision(explainer, seen[0], possibilities, self._counting(request, explainer.table.model) if planned else ())

    def _counting(self, request: Request, model: str) -> tuple[str, ...]:
        principal = principal_of(request)
        return tuple(limit.name for limit in self._limits if binds(limit, principal, model))

    def _explainer(self, name: str) -> Explainer | None:
        model = name if name in self._tables else self._aliases.get(name, "")
        if model in self._tables and model not in self._explainers:
            self._explainers[model] = Explainer(self._tables[model])
        return self._explainers.get(model)

    def _ask(self, request: Request, models: Mapping[str, Model]) -> Plan | InferenceError:
        snapshot = Snapshot("", models, {}, {}, self._aliases)
        try:
            model = snapshot.model(request.model)  # these two come first, as the fronts have it, before they read any further
            demand(principal_of(request), model.name)
            inference = inference_of(request)
            return deciding.decide(snapshot, inference, inquiry_of(request)).plan
        except InferenceError as error:
            return error


def _noting(explainer: Explainer, plan: Planner, request: Request, seen: list[Question]) -> Mapping[str, Model]:
    """The model with this planner, told the sizes of tensors that the request does not have; what it is asked goes to `seen`."""

    def noting(question: Question) -> Plan:
        scores = {name: round(score * UNIT) for name, score in request.prompt.items()}
        whole = replace(question, size=request.bytes, text_lengths=request.text_length, prompts=scores)
        seen.append(whole)
        return plan(whole)

    table, looks = explainer.table, Looks(priority=explainer.looks.priority)
    return {table.model: deciding.model(table, noting, explainer.targets, looks)}
