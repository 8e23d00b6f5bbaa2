"""Tests of gateway.configuration.checks_tests."""

from __future__ import annotations

import pytest

from gateway.configuration.checks_tests import REFUSALS
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

POLICY = """version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants: {fast: {backend: triton, model: f}, slow: {backend: triton, model: s}}
    routes: [{name: vip, match: {tier: x}, use: slow}, {name: last, use: fast}]
aliases: {mnist: digits}
"""
FIRST = 1 + POLICY.count("\n")


def found(more: str) -> list[tuple[str, int, str, str | None]]:
    try:
        load_policy(f"{POLICY}{more}".encode(), "policy.yaml")
    except PolicyError as error:
        return [(problem.path, problem.line, problem.message, problem.suggestion) for problem in error.problems]
    return []


def checked(*written: str) -> list[tuple[str, int, str, str | None]]:
    lines = "".join(f"  - {{name: t{index}, {each}}}\n" for index, each in enumerate(written))
    return found(f"tests:\n{lines}")


@pytest.mark.parametrize(
    "written",
    [
        "request: {model: digits}, expect: {route: last, use: fast, timeout: 30s}",
        "request: {model: mnist, principal: {tier: x}}, expect: {use: slow}",
        "request: {model: digits, priority: 3}, expect: {cascade: [fast, slow]}",
        "request: {model: minst}, expect: {refused: not-found}",
        *(f"request: {{model: digits}}, expect: {{refused: {reason}}}" for reason in REFUSALS),
    ],
)
def test_good(written: str) -> None:
    """What could hold is not complained of."""
    assert [] == checked(written)


@pytest.mark.parametrize(
    ("written", "path", "what", "meant"),
    [
        ("request: {model: digts}, expect: {use: fast}", "request.model", "unknown model 'digts'", "digits"),
        ("request: {model: minst}, expect: {use: fast}", "request.model", "unknown model 'minst'", "mnist"),
        ("request: {model: digits}, expect: {route: lst}", "expect.route", "unknown route 'lst'", "last"),
        ("request: {model: mnist}, expect: {route: zzz}", "expect.route", "unknown route 'zzz'; there is vip, last", None),
        ("request: {model: digits}, expect: {use: fats}", "expect.use", "unknown variant 'fats'", "fast"),
        ("request: {model: mnist}, expect: {cascade: [fast, slw]}", "expect.cascade[1]", "unknown variant 'slw'", "slow"),
        ("request: {model: digits}, expect: {}", "expect", "expects nothing, so it could never fail", None),
        ("request: {model: digits}, expect: {use: fast, cascade: [fast]}", "expect.cascade", "expect use or cascade", None),
        ("request: {model: digits}, expect: {route: last, refused: version}", "expect.refused", "is refused has no route", None),
        (
            "request: {model: digits}, expect: {refused: forbiden}",
            "expect.refused",
            "is not why a request is refused",
            "forbidden",
        ),
        ("request: {model: digits}, expect: {timeout: 2}", "expect.timeout", "'2' has no unit", None),
        ("request: {model: digits, rows: -1}, expect: {use: fast}", "request.rows", "'-1' is not a whole number", None),
        ("request: {model: digits, priority: 10}, expect: {use: fast}", "request.priority", "is not a priority", None),
        ("request: {model: digits, tier: x}, expect: {use: fast}", "request.tier", "unknown key 'tier'", None),
        ("request: {model: digits}", "", "'expect' is missing", None),
    ],
)
def test_mistakes(written: str, path: str, what: str, meant: str | None) -> None:
    """A test that names what is not there, or could never fail or never hold, is named with its line."""
    ((place, line, message, suggestion),) = checked(written)
    assert (f"tests[0].{path}".rstrip("."), FIRST + 1, meant) == (place, line, suggestion)
    assert what in message


def test_names() -> None:
    """Two tests of one name could not be told apart in what is said of them."""
    entry = "  - {name: same, request: {model: digits}, expect: {use: fast}}\n"
    problem = ("tests[1].name", FIRST + 2, f"'same' is already on line {FIRST + 1}", None)
    assert [problem] == found(f"tests:\n{entry}{entry}")


def test_without() -> None:
    """A part cannot both be there and be left out; what there never was may be left out."""
    entry = "  - {name: same, request: {model: digits}, expect: {use: fast}}\n"
    problem = ("without[0]", FIRST, f"'tests' is there, on line {FIRST + 1}: one of the two must go", None)
    assert [problem] == found(f"without: [tests]\ntests:\n{entry}")
    assert [] == found("without: [tests, limits]\n")
    assert [("without[1]", FIRST, f"'tests' is already on line {FIRST}", None)] == found("without: [tests, tests]\n")
    assert [("without[0]", FIRST, "'test' is not one of tests or limits", "tests")] == found("without: [test]\n")


def test_what_all_tests_take() -> None:
    """Before tests are run it is known about how long they take: what they look at has an end, and an alias hides nothing."""
    wide = f"{{any: [{', '.join(f'{{tier: t{number}}}' for number in range(249))}]}}"
    policy = POLICY.replace("{tier: x}", wide).replace("use: fast}]", "split: {fast: 1, slow: 2}}]")
    entry = "  - {name: t#, request: {model: digits}, expect: {route: last}}\n"
    entries = [entry.replace("#", str(each)).replace("digits", ("digits", "mnist")[each % 2]) for each in range(1924)]
    assert 1919 == len(load_policy(f"{policy}tests:\n{''.join(entries[:1919])}".encode(), "policy.yaml").tests)
    with pytest.raises(PolicyError) as refused:
        load_policy(f"{policy}tests:\n{''.join(entries)}".encode(), "policy.yaml")
    assert f"policy.yaml:{FIRST}: tests: running these 1924 takes 1,002,404 steps, and 1,000,000 are allowed" in str(
        refused.value
    )


def test_mistyped_limits_are_one_problem() -> None:
    """Tests that name limits are not told off for a part that stands there by another name."""
    test = "tests:\n  - {name: t, request: {model: digits}, expect: {limits: [free]}}\n"
    ((path, _, _, meant),) = found(f"lmits:\n  - {{name: free, concurrency: 1}}\n{test}")
    assert ("lmits", "limits") == (path, meant)
    assert ["tests[0].expect.limits"] == [problem[0] for problem in found(test)]
