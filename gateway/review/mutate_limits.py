"""Finds out whether a policy's tests would notice a limit that is gone, or that counts more than it should."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import asdict, replace

from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.schema_tests import Caller, Expect, PolicyTest, Request
from gateway.configuration.tables import limits_of
from gateway.review.decision import Decider, Decision
from gateway.review.suggest import Survivor, written
from gateway.review.trial import as_expected
from gateway.review.words import request as asked
from gateway.review.written import principal_of
from routing.limits import Bound, Limit, binds
from routing.match import RouteTable
from routing.principal import INFER

_KEYS = {"tenants": "tenant", "tiers": "tier", "subjects": "subject", "scopes": "scope", "models": "model"}


class _Known(NamedTuple):
    """A test that gets so far that limits count it."""

    test: PolicyTest
    decision: Decision


class LimitBench:
    """The limits of one document, and those of its tests that expect any."""

    def __init__(self, document: PolicyDocument, tables: Mapping[str, RouteTable]) -> None:
        self.limits = limits_of(document)
        self._models = tuple(tables)
        self._decider = Decider(tables, document.aliases, self.limits)
        tests = [test for test in document.tests if test.expect.limits is not None]
        self._tests = [_Known(test, self._decider.decide(test.request)) for test in tests]

    def tried(self, index: int) -> tuple[int, tuple[Survivor, ...]]:
        """How many mutants of one limit were tried, and which no test notices."""
        limit, count, survivors = self.limits[index], 0, []
        for said, mutant, shows in self._mutants(limit):
            count += 1
            if not any(self._fails(limit, mutant, known) for known in self._tests):
                names = self._decider.decide(shows).limits
                name = f"{asked(shows)} counts against {', '.join(names) or 'no limit'}"
                survivors.append(Survivor(said, written(PolicyTest(name, shows, Expect(limits=names)))))
        return count, tuple(survivors)

    def _mutants(self, limit: Limit) -> Iterator[tuple[str, Limit | None, Request]]:
        """What is wrong, the limit then (None: there is none), and a request that shows it."""
        whom = self._whom(limit.bound)
        yield "it is taken away", None, whom
        for field, words in asdict(limit.bound).items():
            other = self._other(field, limit.bound, whom) if words else None
            if other is not None:
                said = f"'{_KEYS[field]} {' or '.join(sorted(words))}' is left out"
                yield said, replace(limit, bound=replace(limit.bound, **{field: frozenset()})), other

    def _whom(self, bound: Bound) -> Request:
        """One whom the limit binds."""
        model = min(bound.models) if bound.models else self._models[0]
        tenant, tier, subject = (min(words) if words else "" for words in (bound.tenants, bound.tiers, bound.subjects))
        scopes = tuple(dict.fromkeys((INFER, *sorted(bound.scopes)[:1])))
        return Request(model, Caller(subject, tenant, tier, scopes))

    def _other(self, field: str, bound: Bound, whom: Request) -> Request | None:
        """One who differs in this alone, so that the limit does not bind; None if nobody can."""
        if field == "models":
            model = next((each for each in self._models if each not in bound.models), None)
            return None if model is None else replace(whom, model=model)
        if field == "scopes":
            scope = next((each for each in (INFER, f"{INFER}:{whom.model}") if each not in bound.scopes), None)
            return None if scope is None else replace(whom, principal=replace(whom.principal, scopes=(scope,)))
        return replace(whom, principal=replace(whom.principal, **{_KEYS[field]: ""}))

    def _fails(self, limit: Limit, mutant: Limit | None, known: _Known) -> bool:
        test, decision = known
        if decision.explainer is None or decision.question is None:
            return False
        others = tuple(name for name in decision.limits if name != limit.name)
        still = mutant is not None and binds(mutant, principal_of(test.request), decision.explainer.table.model)
        return not as_expected(test.expect, decision._replace(limits=(*others, limit.name) if still else others))
