"""Writes a test that a policy could have: the request, what it gets today, as the document would say it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from backends.errors import InferenceError
from gateway.configuration.schema_tests import Caller, Expect, PolicyTest, Request
from gateway.configuration.yaml_source import resolve
from gateway.review.words import request
from routing.explain import Possibility
from routing.match import Question
from routing.prompt.scorer import UNIT

_LINE = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/., =→-]*(?<! )")  # of these characters YAML makes nothing but text
_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/. -]*(?<! )")


class Survivor(msgspec.Struct, frozen=True):
    """A mutant that no test notices: what is wrong with it, and a test that would notice, as lines of the document."""

    said: str
    test: tuple[str, ...]


def asking(model: str, question: Question) -> Request:
    """The request that asks the model this question."""
    principal = question.principal
    return Request(
        model,
        Caller(principal.subject, principal.tenant, principal.tier, tuple(sorted(principal.scopes))),
        question.rows,
        question.headers,
        question.parameters,
        question.version,
        question.priority,
        question.size,
        question.text_lengths,
        question.request_id,
        {name: score / UNIT for name, score in question.prompts.items()},
    )


def suggested(asked: Request, possibilities: tuple[Possibility, ...]) -> PolicyTest:
    """A test that this request gets what it gets: of a split that nothing decides only the route."""
    result = possibilities[0].result
    if isinstance(result, InferenceError):
        return PolicyTest(f"{request(asked)} → {result.reason}", asked, Expect(refused=result.reason))
    stages = tuple(stage.target.variant for stage in result.stages)
    expect = Expect(route=result.route)
    if len(stages) > 1:
        expect = Expect(route=result.route, cascade=stages)
    elif len(possibilities) == 1:
        expect = Expect(route=result.route, use=stages[0])
    return PolicyTest(f"{request(asked)} → {result.route}", asked, expect)


def written(test: PolicyTest) -> tuple[str, str, str]:
    """The test as three lines of a document's `tests`."""
    value, usual = msgspec.to_builtins(test), msgspec.to_builtins(PolicyTest("", Request(""), Expect()))
    asked, expected = (_flow(_unusual(value[part], usual[part])) for part in ("request", "expect"))
    plain = _LINE.fullmatch(test.name) and resolve(test.name) == test.name
    name = test.name if plain else json.dumps(test.name, ensure_ascii=False)
    return f"- name: {name}", f"  request: {asked}", f"  expect: {expected}"


def _unusual(value: Mapping[str, object], usual: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, each in value.items():
        before = usual.get(name)
        if each != before:
            found[name] = _unusual(each, before) if isinstance(each, dict) and isinstance(before, dict) else each
    return found


def _flow(value: object) -> str:
    """In YAML's flow style, in quotes only what needs them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(str(name))}: {_flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and resolve(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
