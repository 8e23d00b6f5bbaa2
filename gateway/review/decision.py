"""What the data plane decides before it asks anybody, found out without one: the same steps in the same order."""

from __future__ import annotations

from collections.abc import Mapping

from backends.errors import ErrorKind, InferenceError
from gateway.configuration.schema_tests import Sample
from gateway.review.sample import question_of
from policies.authorize import demand
from routing.explain import Explainer, Outcome
from routing.match import Question, RouteTable


class Decider:
    """Decides about samples by one document. `tables` by public model, `aliases` by the name that clients may use instead."""

    def __init__(self, tables: Mapping[str, RouteTable], aliases: Mapping[str, str]) -> None:
        self._tables = tables
        self._aliases = aliases
        self._explainers: dict[str, Explainer] = {}

    def outcomes(self, sample: Sample) -> tuple[Outcome, ...]:
        """What comes of the sample: one plan or refusal, or one for each side of a split that nothing in it decides."""
        try:
            explainer, question = self.admitted(sample)
        except InferenceError as error:
            return (Outcome(error),)
        return explainer.outcomes(question)

    def admitted(self, sample: Sample) -> tuple[Explainer, Question]:
        """The model's routes and the question for them, if it gets that far. Raises NOT_FOUND, FORBIDDEN, INVALID."""
        explainer = self.explainer(sample.model)
        question = question_of(sample)
        demand(question.principal, explainer.table.model)
        return explainer, question

    def explainer(self, name: str) -> Explainer:
        """The routes of the model of that name or alias. Raises NOT_FOUND."""
        model = name if name in self._tables else self._aliases.get(name, name)
        if model not in self._tables:
            raise InferenceError(ErrorKind.NOT_FOUND, f"unknown model '{name}'", source="client")
        if model not in self._explainers:
            self._explainers[model] = Explainer(self._tables[model])
        return self._explainers[model]
