"""Tests of gateway.configuration.checks."""

from __future__ import annotations

import time

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

HEAD = """version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants:
      fast: {backend: triton, model: f, cost: 1}
      balanced: {backend: triton, model: b, cost: 6}
      accurate: {backend: triton, model: a, cost: 40}
"""
FIRST = 1 + HEAD.count("\n")  # the line on which what follows the head begins
LAST = "      - {name: last, use: fast}\n"


def found(text: str) -> list[tuple[str, int, str, str | None]]:
    try:
        load_policy(text.encode(), "policy.yaml")
    except PolicyError as error:
        return [(problem.path, problem.line, problem.message, problem.suggestion) for problem in error.problems]
    return []


def only(text: str) -> tuple[str, int, str, str | None]:
    problems = found(text)
    assert 1 == len(problems), problems
    return problems[0]


def cascade(stages: str, confidence: str = "{output: p, metric: max-softmax}") -> str:
    route = f"      - name: last\n        cascade:\n          confidence: {confidence}\n          stages:\n{stages}"
    return f"{HEAD}    routes:\n{route}"


def stages(*written: str) -> str:
    return "".join(f"            - {{{stage}}}\n" for stage in written)


GOOD = stages("use: fast, accept: 0.9", "use: balanced, accept: 0.8", "use: accurate")


def test_good() -> None:
    """What makes sense is not complained of."""
    assert [] == found(f"{HEAD}    routes:\n{LAST}")
    assert [] == found(cascade(GOOD))
    assert [] == found(f"{HEAD}    routes:\n{LAST}    fallback: {{accurate: balanced, balanced: fast}}\n")


@pytest.mark.parametrize(
    ("body", "path", "below", "what", "meant"),
    [
        ("      - {name: a, use: fats}\n", "routes[0].use", 1, "unknown variant 'fats'", "fast"),
        ("      - {name: a, use: zzz}\n", "routes[0].use", 1, "unknown variant 'zzz'; there is fast, balanced, accurate", None),
        ("      - name: a\n        split: {fast: 1, blanced: 2}\n", "routes[0].split.blanced", 2, "unknown variant", "balanced"),
        ("      - {name: a}\n", "routes[0]", 1, "needs exactly one of use, split and cascade; it has none", None),
        ("      - {name: a, use: fast, split: {fast: 1}}\n", "routes[0]", 1, "it has use and split", None),
        ("      - {name: a, use: fast, unit: tenant}\n", "routes[0].unit", 1, "this route has no split", None),
        ("      - name: a\n        split: {fast: 0, balanced: 0.0}\n", "routes[0].split", 2, "weights sum to nothing", None),
        ("      - name: a\n        split: {fast: -1, balanced: 2}\n", "routes[0].split.fast", 2, "'-1' is negative", None),
        ("      - name: a\n        split: {fast: 5%}\n", "routes[0].split.fast", 2, "'5%' is not a number", "5"),
        ("      - {name: a b, use: fast}\n", "routes[0].name", 1, "'a b' is not a name", "a-b"),
        (f"      - {{name: last, match: {{tier: a}}, use: fast}}\n{LAST}", "routes[1].name", 2, "is already on line 11", None),
        ("      - {name: a, use: fast, timeout: 0s}\n", "routes[0].timeout", 1, "must be longer than 0", None),
        ("      - {name: a, use: fast, mirror: x}\n", "routes[0].mirror", 1, "unknown key 'mirror'", None),
    ],
)
def test_routes(body: str, path: str, below: int, what: str, meant: str | None) -> None:
    """A route that is senseless is named with its line."""
    place, line, message, suggestion = only(f"{HEAD}    routes:\n{body}")
    assert (f"models.digits.{path}", FIRST + below, meant) == (place, line, suggestion)
    assert what in message


@pytest.mark.parametrize(
    ("fallback", "path", "what", "meant"),
    [
        ("{acurate: fast}", "fallback.acurate", "unknown variant 'acurate'", "accurate"),
        ("{accurate: fats}", "fallback.accurate", "unknown variant 'fats'", "fast"),
        ("{fast: fast}", "fallback.fast", "in a circle: 'fast' → 'fast'", None),
        ("{accurate: fast, fast: accurate}", "fallback.accurate", "'accurate' → 'fast' → 'accurate'", None),
        ("{fast: balanced, accurate: fast, balanced: accurate}", "fallback.fast", "'balanced' → 'accurate' → 'fast'", None),
        ("{accurate: fast, fast: balanced, balanced: fast}", "fallback.fast", "'fast' → 'balanced' → 'fast'", None),
    ],
)
def test_fallback(fallback: str, path: str, what: str, meant: str | None) -> None:
    """A fallback leads to another variant that exists, and never back; a circle is named once."""
    place, line, message, suggestion = only(f"{HEAD}    routes:\n{LAST}    fallback: {fallback}\n")
    assert (f"models.digits.{path}", FIRST + 2, meant) == (place, line, suggestion)
    assert what in message


def test_a_long_fallback_is_followed_once() -> None:
    """Thousands of fallbacks one after the other cost no more than reading them does; a circle of them is told in short."""
    count = 5000
    variants = "".join(f"      v{each}: {{backend: triton, model: m}}\n" for each in range(count))
    chain = [f"v{each}: v{each + 1}" for each in range(count - 1)]
    text = HEAD.replace("    variants:\n", f"    variants:\n{variants}") + f"    routes:\n{LAST}    fallback: "
    begin = time.process_time()
    long = only(f"{text}{{{', '.join(chain)}}}\n")
    assert ("models.digits.fallback.v0", "'v0' falls back on 4999 variants, one after another; at most 100 are allowed") == long[
        ::2
    ]
    assert [] == found(f"{text}{{{', '.join(chain[-100:])}}}\n")
    assert ["models.digits.fallback.v4898"] == [problem[0] for problem in found(f"{text}{{{', '.join(chain[-101:])}}}\n")]
    message = only(f"{text}{{{', '.join([*chain, f'v{count - 1}: v0'])}}}\n")[2]
    assert message.endswith("'v0' → 'v1' → 'v2' → 'v3' → 'v4' → 'v5' → 'v6' → 'v7' → … → 'v0'")
    assert time.process_time() - begin < 5


def test_the_sides_of_a_split() -> None:
    """A split has at most a hundred sides: each request would draw for all of them."""
    split = f"{_wide(100)}    routes:\n      - {{name: a, split: {{{_many(100, 'v#: 1')}}}}}\n"
    assert [] == found(split)
    problem = only(split.replace("v99: 1", "v99: 1, fast: 1"))
    assert ("models.digits.routes[0].split", FIRST + 101, "101 sides are too many: a split has at most 100", None) == problem


def _wide(count: int) -> str:
    return HEAD + "".join(f"      v{each}: {{backend: triton, model: m}}\n" for each in range(count))


def test_endpoints() -> None:
    """An endpoint stands in a backend only once."""
    text = HEAD.replace("[127.0.0.1:8000]", "[a:80, b:80, a:80]")
    assert ("backends.triton.endpoints[2]", 3) == only(f"{text}    routes:\n{LAST}")[:2]


def test_backends() -> None:
    """A backend that does not exist is named; one whose declaration has a mistake exists all the same."""
    problem = only(f"{HEAD.replace('triton, model: b', 'tritn, model: b')}    routes:\n{LAST}")
    assert ("models.digits.variants.balanced.backend", 8, "unknown backend 'tritn'", "triton") == problem
    assert "backends.triton.protocol" == only(f"{HEAD.replace('triton-http', 'openai')}    routes:\n{LAST}")[0]


def test_one_slip_is_one_problem() -> None:
    """A misspelt key brings no second complaint about what it should have said."""
    assert "models.digits.routes[0].uze" == only(f"{HEAD}    routes:\n      - {{name: a, uze: fast}}\n")[0]
    assert "models.digits.variants.accurate.costs" == only(cascade(GOOD).replace("cost: 40", "costs: 40"))[0]


@pytest.mark.parametrize(
    ("aliases", "path", "what", "meant"),
    [
        ("{mnist: digts}", "mnist", "unknown model 'digts'", "digits"),
        ("{mnist: zzz}", "mnist", "unknown model 'zzz'; there is digits", None),
        ("{digits: digits}", "digits", "'digits' is a model's own name", None),
        ("{old: mnist, mnist: digits}", "old", "'mnist' is an alias itself; name the model", "digits"),
        ("{mnist: mnist}", "mnist", "'mnist' is an alias itself", None),
        ("{a b: digits}", '"a b"', "'a b' is not a name", "a-b"),
    ],
)
def test_aliases(aliases: str, path: str, what: str, meant: str | None) -> None:
    """An alias is a new name for a model that there is, in one step."""
    text = f"{HEAD}    routes:\n{LAST}aliases: "
    assert [] == found(f"{text}{{mnist: digits, old-digits: digits}}\n")
    place, line, message, suggestion = only(f"{text}{aliases}\n")
    assert (f"aliases.{path}", FIRST + 2, meant) == (place, line, suggestion)
    assert what in message


TIMED = HEAD.replace("model: a,", "model: a, timeout: 2s,")


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        (LAST, None),
        ("      - {name: a, use: accurate}\n", None),
        ("      - {name: a, use: accurate, timeout: 2s}\n", None),
        ("      - {name: a, use: fast, timeout: 1s}\n", None),
        ("      - {name: a, use: accurate, timeout: 1s}\n", "2 s is more than the 1 s that route 'a' (line 11) has in all"),
        ("      - {name: a, split: {accurate: 1}, timeout: 500ms}\n", "more than the 0.5 s that route 'a' (line 11)"),
        ("      - {name: a, use: accurate}\n    timeout: 1s\n", "more than the 1 s that route 'a' (line 11)"),
        (f"      - {{name: b, match: {{tier: x}}, use: accurate, timeout: 3s}}\n{LAST}    timeout: 1s\n", None),
    ],
)
def test_timeouts(routes: str, said: str | None) -> None:
    """A variant may not have longer for its own part than a route that asks it has in all."""
    problems = found(f"{TIMED}    routes:\n{routes}")
    assert ([] if said is None else [("models.digits.variants.accurate.timeout", 9)]) == [each[:2] for each in problems]
    assert said is None or said in problems[0][2]


def test_a_stage_s_timeout() -> None:
    """Stages count one by one: they may well have more together than the route, for they are not all asked."""
    timed = cascade(GOOD).replace("model: a,", "model: a, timeout: 2s,").replace("model: b,", "model: b, timeout: 2s,")
    assert [] == found(f"{timed}    timeout: 3s\n")
    assert ["models.digits.variants.balanced.timeout", "models.digits.variants.accurate.timeout"] == [
        problem[0] for problem in found(f"{timed}    timeout: 1s\n")
    ]
    assert ["models.digits.timeout"] == [problem[0] for problem in found(f"{timed}    timeout: 1\n")]


def _many(count: int, entry: str) -> str:
    return ", ".join(entry.replace("#", str(index)) for index in range(count))


BUSHY = "{tier: x, tenant: [a, b]}"
for _ in range(6):
    BUSHY = f"{{any: [{BUSHY}, {BUSHY}], not: {{all: [{BUSHY}]}}}}"
TESTS = f"tests: [{_many(2600, '{name: t#, request: {model: digits}, expect: {route: zzz, use: fast}}')}]\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}    routes:\n      - {{name: deep, match: {'{any: [' * 11}{{tier: x}}{']}' * 11}, use: fast}}\n{LAST}",
        f"{HEAD}    routes:\n      - {{name: bushy, match: {BUSHY}, use: fast}}\n{LAST}",
        f"{HEAD}    routes:\n      - {{name: wide, match: {{any: [{_many(15000, '{tier: t#}')}]}}, use: fast}}\n{LAST}",
        f"{HEAD}    routes: [{_many(3000, '{name: r#, match: {tier: t#}, use: fast}')}, {{name: last, use: fast}}]\n{TESTS}",
        f"{HEAD}    routes:\n{LAST}aliases: {{{_many(20000, 'a#: a#a')}}}\n",
        f"{HEAD}    routes:\n{LAST}    version_policy: specific({_many(100_000, 'v#')})\n",
        f"{HEAD}    routes:\n      - {{name: words, match: {{version: [{_many(40_000, 'v#')}]}}, use: fast}}\n{LAST}",
    ],
    ids=["deep", "bushy", "wide", "tests", "aliases", "versions", "words"],
)
def test_a_document_of_any_size_is_judged_in_time(text: str) -> None:
    """Whatever the caps on size, depth and values let in takes less than two seconds, mistakes and all."""
    begin = time.process_time()
    found(text)
    assert time.process_time() - begin < 2


def test_a_mistyped_split_is_one_problem() -> None:
    """Its unit is not told off for a split that stands there by another name."""
    path, _, _, meant = only(f"{HEAD}    routes:\n      - {{name: last, slit: {{fast: 1, balanced: 1}}, unit: tenant}}\n")
    assert ("models.digits.routes[0].slit", "split") == (path, meant)
