"""Finds out whether a policy's tests would notice: every rule is made wrong in small ways, and some test should fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.schema_tests import PolicyTest, Request
from gateway.configuration.tables import limits_of
from gateway.review.decision import Decider
from gateway.review.mutants import Mutant, mutants
from gateway.review.mutate_limits import LimitBench
from gateway.review.suggest import Survivor, asking, suggested, written
from gateway.review.trial import as_expected
from routing.conditions import Predicate, predicates
from routing.cover import witness
from routing.explain import Explainer, only
from routing.match import Match, Question, RouteTable, Split
from routing.planner import unit_of

DRAWS = 2000  # requests that are tried until one falls to the side of a split that is to be shown


class Rule(msgspec.Struct, frozen=True):
    """One route, or one limit: how many mutants of it were tried, and which survived."""

    model: str  # "" of a limit, which belongs to no model
    index: int  # among the model's routes, or among the limits
    route: str  # its name
    mutants: int
    survivors: tuple[Survivor, ...]

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where it stands in the document."""
        return ("models", self.model, "routes", self.index) if self.model else ("limits", self.index)

    @property
    def called(self) -> str:
        """What it is, in words."""
        return f"{self.model}: route {self.route}" if self.model else f"limit {self.route}"


class _Known(NamedTuple):
    """A test, the question its request is, and the route that takes it."""

    test: PolicyTest
    question: Question
    hit: int | None


def examine(document: PolicyDocument, tables: Mapping[str, RouteTable]) -> Iterator[Rule]:
    """Every rule in the document's order, one by one, since it may take a while. The document's tests must hold."""
    for model, table in tables.items():
        bench = _Bench(document, table)
        for index, route in enumerate(table.routes):
            yield Rule(model, index, route.name, *bench.tried(index))
    limits = LimitBench(document, tables)
    for index, limit in enumerate(limits.limits):
        yield Rule("", index, limit.name, *limits.tried(index))


class _Bench:
    """One model, and those of the document's tests that get to its routes."""

    def __init__(self, document: PolicyDocument, table: RouteTable) -> None:
        self._table = table
        self._aliases, self._limits = document.aliases, limits_of(document)
        self._decider = Decider({table.model: table}, document.aliases, self._limits)
        self._explainer = Explainer(table)
        self._tests = [each for test in document.tests if (each := self._known(test)) is not None]

    def _known(self, test: PolicyTest) -> _Known | None:
        question = self._decider.decide(test.request).question
        return None if question is None else _Known(test, question, self._explainer.hit(question))

    def tried(self, index: int) -> tuple[int, tuple[Survivor, ...]]:
        """How many mutants were tried, and the survivors; a route that could be taken away is not looked at any further."""
        count, survivors = 0, []
        for mutant in mutants(self._table, index):
            count += 1
            holding = predicates(mutant.route.match)
            if any(self._fails(mutant, holding, each) for each in self._tests):
                continue
            found = self._showing(mutant, holding)
            if found is not None:
                survivors.append(Survivor(mutant.said, written(found)))
            if count == 1 and survivors:
                break
        return count, tuple(survivors)

    def _fails(self, mutant: Mutant, holding: tuple[Predicate, ...], known: _Known) -> bool:
        """Whether the test fails with the mutant; `holding` is the mutant's match, compiled."""
        test, question, hit = known
        if hit is not None and hit < mutant.index:
            return False
        if all(holds(question) for holds in holding):
            new: int | None = mutant.index
        else:
            new = self._explainer.hit(question, mutant.index + 1) if hit == mutant.index else hit
        route = mutant.route if new == mutant.index else None if new is None else self._table.routes[new]
        if new == hit and (route is None or new != mutant.index or route.action == self._table.routes[new].action):
            return False
        alone = Decider({self._table.model: only(self._table, route)}, self._aliases, self._limits)
        return not as_expected(test.expect, alone.decide(test.request))

    def _showing(self, mutant: Mutant, holding: tuple[Predicate, ...]) -> PolicyTest | None:
        """A test that holds, and fails with the mutant; None where the mutant changes nothing that a test could tell."""
        for shown in mutant.shows:
            question = self._reaching(shown, mutant.index)
            for request in () if question is None else self._requests(mutant, question):
                test = suggested(request, self._decider.decide(request).possibilities)
                known = self._known(test)
                if known is not None and self._fails(mutant, holding, known):
                    return test
        return None

    def _reaching(self, shown: Match, index: int) -> Question | None:
        """A question that the match takes and no route before `index` does; None if there is none."""
        question = witness([shown], 0)  # most have nothing to do with the routes above: a thousand times faster
        if question is None:
            return None
        first = self._explainer.hit(question)
        if first is None or first >= index:
            return question
        return witness([*(route.match for route in self._table.routes[:index]), shown], index)

    def _requests(self, mutant: Mutant, question: Question) -> Iterator[Request]:
        """Requests that ask this question; where a split is made wrong, with ids that fall now to one side, now to another."""
        request, action = asking(self._table.model, question), mutant.route.action
        if action != self._table.routes[mutant.index].action and isinstance(action, Split) and not unit_of(question, action.unit):
            yield from (replace(request, request_id=f"r{number}") for number in range(DRAWS))
        else:
            yield request
