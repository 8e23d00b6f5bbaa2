"""What differs between two policies, in words."""

from __future__ import annotations

import pytest

from gateway.configuration.tables import route_tables
from gateway.review.changes import changes
from gateway.review.changes_routes import Change
from tests.gateway.review.recorded import POLICY, document

MORE = """aliases: {numbers: digits}
tests:
  - {name: gold, request: {model: digits, principal: {tier: gold}}, expect: {route: gold}}
"""
FULL = POLICY.replace("    routes:", "    fallback: {accurate: balanced}\n    routes:") + MORE


@pytest.mark.parametrize(
    ("was", "now", "path", "words"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8010, 127.0.0.1:8000", "backends.triton.endpoints", "127.0.0.1:8010 comes in"),
        ("127.0.0.1:8000", "127.0.0.1:8010", "backends.triton.endpoints", "127.0.0.1:8000 goes"),
        ("triton-http,", "triton-grpc,", "backends.triton.protocol", "triton-http → triton-grpc"),
        ("8000]}", "8000], max_in_flight: 9}", "backends.triton.max_in_flight", "256 → 9"),
        ("8000]}", "8000], retry: {attempts: 3}}", "backends.triton.retry", "none → 3 attempts, budget 10 %"),
        ("8000]}", "8000], hedge: {after: p99}}", "backends.triton.hedge", "none → after p99, budget 5 %"),
        ("8000]}", "8000], breaker: {open: 500ms}}", "backends.triton.breaker", "5 failures, open 3s → 5 failures, open 500ms"),
        ("8000]}", "8000], health: {timeout: 2s}}", "backends.triton.health", "every 2s, timeout 1s → every 2s, timeout 2s"),
        ("timeout: 2s", "timeout: 1500ms", "models.digits.timeout", "2s → 1.5s"),
        ("timeout: 2s", "timeout: 2s\n    version_policy: latest(2)", "models.digits.version_policy", "all → latest(2)"),
        ("cost: 40", "cost: 41", "models.digits.variants.accurate.cost", "40 → 41"),
        ("model: a,", 'model: a, version: "2",', "models.digits.variants.accurate.version", "the backend's choice → 2"),
        ("model: f,", "model: f, deterministic: false,", "models.digits.variants.fast.deterministic", "true → false"),
        ("model: f,", "model: f, pure: true,", "models.digits.variants.fast.pure", "false → true"),
        ("model: f,", "model: f, row_independent: false,", "models.digits.variants.fast.row_independent", "true → false"),
        (
            "timeout: 2s",
            "timeout: 2s\n    cache: {ttl: 1m, rows: true, stale_if_error: 1h, tag: vision}",
            "models.digits.cache",
            "none → ttl 1m, rows, stale if error 1h, tag vision",
        ),
        ("model: f,", "model: f, timeout: 90ms,", "models.digits.variants.fast.timeout", "none → 90ms"),
        (
            "accurate: balanced}",
            "accurate: fast}",
            "models.digits.fallback.accurate",
            "fast stands in when accurate fails; it was balanced",
        ),
        (
            "    fallback: {accurate: balanced}\n",
            "",
            "models.digits.fallback.accurate",
            "nobody stands in when accurate fails any more; it was balanced",
        ),
        ("aliases: {numbers: digits}\n", "", "aliases.numbers", "alias 'numbers' goes: it was of digits"),
        ("{numbers: digits}", "{numbers: digits, n: digits}", "aliases.n", "alias 'n' is new: of digits"),
        ("expect: {route: gold}", "expect: {use: accurate}", "tests", "test 'gold' asks or expects something else"),
        ("{name: gold, request", "{name: best, request", "tests", "test 'best' is new"),
        (
            "aliases:",
            "without: [limits]\naliases:",
            "without",
            "nothing → limits: parts that the document does without on purpose",
        ),
    ],
)
def test_each_part_in_words(was: str, now: str, path: str, words: str) -> None:
    """Backends, times, variants field by field, fallbacks, aliases, tests."""
    new = FULL.replace(was, now, 1)
    assert new != FULL
    assert Change(path, words) in changes(document(FULL), document(new))


def test_variants_and_models_come_and_go() -> None:
    """With what they are."""
    new = FULL.replace("      accurate: {", "      best: {backend: triton, model: z, cost: 50}\n      accurate: {").replace(
        "use: accurate}\n", "use: best}\n", 1
    )
    told = changes(document(FULL), document(new))
    assert Change("models.digits.variants.best", "variant 'best' is new: z at triton, cost 50") in told
    assert Change("models.digits.variants.best", "variant 'best' goes") in changes(document(new), document(FULL))
    other = POLICY + POLICY[POLICY.index("  digits:") :].replace("digits", "letters")
    assert (
        Change("models.letters", "model 'letters' is new: variants fast, balanced, accurate; routes gold, default"),
    ) == changes(document(), document(other))
    assert (Change("models.letters", "model 'letters' goes"),) == changes(document(other), document())


def test_what_is_only_written_otherwise_is_no_change() -> None:
    """Comments, order of keys and of words in a list, units of times."""
    new = "# a comment\n" + FULL.replace("timeout: 2s", "timeout: 2000ms").replace(
        "fast: {backend: triton, model: f, cost: 1}", "fast: {cost: 1.0, model: f, backend: triton}"
    )
    assert () == changes(document(FULL), document(new))
    assert route_tables(document(FULL)) == route_tables(document(new))


@pytest.mark.parametrize(
    "edit",
    [
        ("tier: gold", "tier: [gold, silver]"),
        ("tier: gold", "rows: 3.."),
        ("use: accurate}\n", "use: fast}\n"),
        ("use: accurate}\n", "use: accurate, timeout: 1s}\n"),
        ("use: accurate}\n", "use: accurate, sample: 5%}\n"),
        ("use: accurate}\n", "split: {fast: 1, accurate: 1}}\n"),
        ("name: gold,", "name: best,"),
        ("accept: 0.8", "accept: 0.7"),
        ("metric: margin", "metric: entropy"),
        ("model: a,", "model: a3,"),
        ("cost: 40", "cost: 41"),
        ("timeout: 2s", "timeout: 1s"),
        ("accurate: balanced", "accurate: fast"),
        ("timeout: 2s", "version_policy: specific(1)"),
        ("timeout: 2s", "cache: {ttl: 1m}"),
    ],
)
def test_no_change_of_a_table_goes_unsaid(edit: tuple[str, str]) -> None:
    """Whatever makes other routes of a document is told, both ways."""
    old = FULL[: FULL.index("tests:")]
    new = old.replace(*edit, 1)
    assert route_tables(document(old)) != route_tables(document(new))
    assert changes(document(old), document(new))
    assert changes(document(new), document(old))


ROUTED = POLICY.replace("    routes:", '    routers: {hard: {file: a.json, sha256: "SHA", input: text}}\n    routes:').replace(
    "match: {tier: gold}", "match: {prompt: {hard: {at_least: 0.62}}}"
)


def routed(sha: str, text: str = ROUTED) -> tuple[Change, ...]:
    """What differs from the policy whose router has the hash of a's."""
    old, new = (document(each) for each in (ROUTED.replace("SHA", "a" * 64), text.replace("SHA", sha)))
    return changes(old, new)


def test_prompt_routers() -> None:
    """Another file scores every prompt anew; thresholds are told as conditions, in the document's own words."""
    what = "a.json (aaaaaaaaaaaa) reads text → a.json (bbbbbbbbbbbb) reads text: every prompt is scored anew"
    (found,) = routed("b" * 64)
    assert ("models.digits.routers.hard.sha256", True) == (found.path, found.text.startswith(what))
    assert (Change("models.digits.routers.hard.input", "text → prompt"),) == routed(
        "a" * 64, ROUTED.replace("input: text", "input: prompt")
    )
    (found,) = routed("a" * 64, ROUTED.replace("0.62", "0.7"))
    assert Change("models.digits.routes.gold.match", "prompt.hard at least 0.62 → prompt.hard at least 0.7") == found
    (found, *_) = reversed(changes(document(POLICY), document(ROUTED.replace("SHA", "a" * 64))))
    assert Change("models.digits.routers.hard", "prompt router 'hard' is new: a.json (aaaaaaaaaaaa) reads text") == found
