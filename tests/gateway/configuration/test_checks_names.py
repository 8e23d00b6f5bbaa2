"""Tests of gateway.configuration.checks_names."""

from __future__ import annotations

from gateway.configuration.checks_names import check_distinct, check_known
from gateway.configuration.decode import Findings
from gateway.configuration.yaml_source import parse


def findings() -> Findings:
    return Findings(parse(b"words:\n  - a\n  - b\n  - a\nnamed:\n  - {name: a}\n  - {name: a}\n", "x.yaml"))


def test_known() -> None:
    """An unknown name brings the nearest, or else a few that there are."""
    found = findings()
    check_known(found, ("words",), "word", "a", ["a"])
    assert [] == found.problems
    for name, known in (("fats", ["fast", "slow"]), ("zzz", [f"n{index}" for index in range(20)]), ("zzz", [])):
        check_known(found, ("words",), "word", name, known)
    assert [
        ("unknown word 'fats'", "fast"),
        ("unknown word 'zzz'; there is n0, n1, n2, n3, n4, n5, n6, n7", None),
        ("unknown word 'zzz'", None),
    ] == [(problem.message, problem.suggestion) for problem in found.problems]


def test_distinct() -> None:
    """A second one is named with the line of the first, in a list of words and by a key of its entries."""
    found = findings()
    check_distinct(found, ("words",), ["a", "b", "a"])
    check_distinct(found, ("named",), ["a", "a"], "name")
    assert [("words[2]", 4, "'a' is already on line 2"), ("named[1].name", 7, "'a' is already on line 6")] == [
        (problem.path, problem.line, problem.message) for problem in found.problems
    ]
