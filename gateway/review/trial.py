"""Runs a policy document's own tests against its own routes: no backend, no clock, no chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from backends.errors import InferenceError
from gateway.configuration.problems import MAX_PROBLEMS, PolicyError, Problem, path_text
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.schema_tests import Expect, PolicyTest
from gateway.configuration.tables import limits_of
from gateway.configuration.yaml_source import parse
from gateway.review.decision import Decider, Decision
from gateway.review.words import duration, missed, share
from routing.explain import Explained, Possibility, Tried
from routing.match import RouteTable
from routing.plan import Plan


class Failure(msgspec.Struct, frozen=True):
    """A test that does not hold: what was expected, what came, and the routes' reasons, a line each."""

    index: int  # in the document's `tests`
    name: str
    expected: str
    came: str
    why: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """All of it in one line."""
        return f"test '{self.name}' fails: expected {self.expected}; came {self.came}" + "".join(f"; {line}" for line in self.why)


def failures(document: PolicyDocument, tables: Mapping[str, RouteTable]) -> tuple[Failure, ...]:
    """The tests of the document that do not hold, in its order. `tables` are those made of it."""
    return tuple(_failures(document, tables))


def _failures(document: PolicyDocument, tables: Mapping[str, RouteTable]) -> Iterator[Failure]:
    decider = Decider(tables, document.aliases, limits_of(document))
    for index, test in enumerate(document.tests):
        failure = _tried(decider, index, test)
        if failure is not None:
            yield failure


def refuse_failures(document: PolicyDocument, tables: Mapping[str, RouteTable], text: bytes, name: str) -> None:
    """Raises PolicyError if a test of the document fails, at the line where it stands. `text` is the file's, `name` its name.

    After MAX_PROBLEMS the rest is not tried: of thousands that fail each would have to be explained.
    """
    failed = list(islice(_failures(document, tables), MAX_PROBLEMS))
    if failed:
        source = parse(text, name)
        paths = [(("tests", failure.index), failure) for failure in failed]
        raise PolicyError(name, [Problem(path_text(path), source.mark(path).line, each.message) for path, each in paths])


def _tried(decider: Decider, index: int, test: PolicyTest) -> Failure | None:
    decision = decider.decide(test.request)
    if as_expected(test.expect, decision):
        return None
    came = " or ".join(_share(possibility) + _came(possibility.result, test.expect) for possibility in decision.possibilities)
    if test.expect.limits is not None:
        came += f", {_limits(decision.limits)}"
    return Failure(index, test.name, expected(test.expect), came, tuple(_reasons(decision, test.expect)))


def as_expected(expect: Expect, decision: Decision) -> bool:
    """Whether what comes of a request, whatever a split decides, is what a test demands."""
    if expect.limits is not None and set(expect.limits) != set(decision.limits):
        return False
    return all(_is(expect, possibility.result) for possibility in decision.possibilities)


def _is(expect: Expect, result: Plan | InferenceError) -> bool:
    if isinstance(result, InferenceError):
        return result.reason == expect.refused
    stages = tuple(stage.target.variant for stage in result.stages)
    return (
        expect.refused is None
        and expect.route in (None, result.route)
        and (expect.use is None or stages == (expect.use,))
        and (not expect.cascade or stages == expect.cascade)
        and expect.timeout in (None, result.timeout)
    )


def expected(expect: Expect) -> str:
    """What a test demands, in words."""
    said = [f"{what} '{word}'" for what, word in (("route", expect.route), ("use", expect.use)) if word is not None]
    if expect.cascade:
        said.append(f"cascade {' → '.join(expect.cascade)}")
    if expect.timeout is not None:
        said.append(f"timeout {duration(expect.timeout)}")
    if expect.limits is not None:
        said.append(_limits(expect.limits))
    if expect.refused is not None:
        said.append(f"refused: {expect.refused}")
    return ", ".join(said) or "an answer"


def _limits(names: tuple[str, ...]) -> str:
    return f"limits {', '.join(sorted(names))}" if names else "no limits"


def _share(possibility: Possibility) -> str:
    return "" if possibility.share == 1 else f"in {share(possibility.share)} of such requests "


def _came(result: Plan | InferenceError, expect: Expect) -> str:
    if isinstance(result, InferenceError):
        return f"refused: {result.reason} ({result.message})"
    stages = [stage.target.variant for stage in result.stages]
    used = f"use '{stages[0]}'" if len(stages) == 1 else f"cascade {' → '.join(stages)}"
    timeout = f", timeout {duration(result.timeout)}" if expect.timeout is not None else ""
    return f"route '{result.route}', {used}{timeout}"


def _reasons(decision: Decision, expect: Expect) -> Iterator[str]:
    explainer, question = decision.explainer, decision.question
    if explainer is None or question is None:
        return
    explained = explainer.explain(question)
    if expect.route is not None:
        yield from _why_not(explained, next(each for each in explained.tried if each.route == expect.route))
    if explained.lot is not None and not explained.lot.value:
        yield f"nothing in the request decides the split by {explained.lot.unit}: give it one, or a request_id"


def _why_not(explained: Explained, tried: Tried) -> Iterator[str]:
    if tried.outcome == "missed":
        yield f"route '{tried.route}' is missed: {', '.join(map(missed, tried.misses))}"
    if tried.outcome == "not reached":
        first = next(each.route for each in explained.tried if each.outcome == "hit")
        yield f"route '{tried.route}' is not reached: '{first}' stands before it and takes the request"
