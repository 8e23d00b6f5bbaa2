"""Tests written for a document."""

from __future__ import annotations

import pytest

from backends.errors import ErrorKind, InferenceError
from gateway.configuration.load import load_policy
from gateway.configuration.schema_tests import Caller, Expect, PolicyTest, Request
from gateway.review.suggest import asking, suggested, written
from routing.explain import Possibility
from routing.match import Question
from routing.plan import Plan, Stage, Target
from routing.principal import Principal

FAST, DEAR = Target("fast", "t", "f"), Target("dear", "t", "d")
POLICY = """version: 1
backends: {t: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {digits: {variants: {fast: {backend: t, model: f}}, routes: [{name: default, use: fast}]}}
tests:
"""


def test_samples_of_questions() -> None:
    """Everything that routing saw."""
    question = Question(
        Principal("ann", "acme", "gold", frozenset({"b", "a"})), {"x-a": "1"}, 3, {"p": True}, "2", "r", 5, 64, {"text": 7}
    )
    expected = Request(
        "digits", Caller("ann", "acme", "gold", ("a", "b")), 3, {"x-a": "1"}, {"p": True}, "2", 5, 64, {"text": 7}, "r"
    )
    assert expected == asking("digits", question)


@pytest.mark.parametrize(
    ("possibilities", "name", "expect"),
    [
        ((Possibility(Plan("r", (Stage(FAST),), 1.0)),), "digits → r", Expect(route="r", use="fast")),
        ((Possibility(Plan("r", (Stage(FAST), Stage(DEAR)), 1.0)),), "digits → r", Expect(route="r", cascade=("fast", "dear"))),
        (
            (Possibility(Plan("r", (Stage(FAST),), 1.0), 0.5), Possibility(Plan("r", (Stage(DEAR),), 1.0), 0.5)),
            "digits → r",
            Expect("r"),
        ),
        ((Possibility(InferenceError(ErrorKind.FORBIDDEN, "no")),), "digits → forbidden", Expect(refused="forbidden")),
    ],
)
def test_what_comes_is_what_is_expected(possibilities: tuple[Possibility, ...], name: str, expect: Expect) -> None:
    """Of a split that nothing decides only the route."""
    sample = Request("digits")
    assert PolicyTest(name, sample, expect) == suggested(sample, possibilities)


@pytest.mark.parametrize(
    "sample",
    [
        Request("digits"),
        Request("digits", Caller("12", "true", "a: b", ("models:infer:digits",)), None, {"x-a": 'say "no"', "x-b": "1.0"}),
        Request("digits", parameters={"p": True, "q": "true", "r": 2.5, "s": "größer, und - mehr"}, version="2", priority=0),
        Request("digits", prompt={"difficulty": 0.62, "other": 1.0}),
        Request("digits", bytes=7, text_length={"text": 3}, request_id="r1", headers={"x-c": "~", "x-d": "- a", "x-e": " b "}),
    ],
)
def test_it_is_read_as_it_was_meant(sample: Request) -> None:
    """Whatever is in it, the lines go into a document and come out as the same test."""
    test = PolicyTest(f"name of {sample.principal.tier}", sample, Expect(route="default", use="fast"))
    text = POLICY + "".join(f"  {line}\n" for line in written(test))
    assert (test,) == load_policy(text.encode(), "policy.yaml").tests


def test_only_what_is_unusual_is_written() -> None:
    """And only what needs them has quotes."""
    test = PolicyTest("gold gets it", Request("digits", Caller(tier="gold"), headers={"x-a": "1"}), Expect(use="fast"))
    assert (
        "- name: gold gets it",
        '  request: {model: digits, principal: {tier: gold}, headers: {x-a: "1"}}',
        "  expect: {use: fast}",
    ) == written(test)
