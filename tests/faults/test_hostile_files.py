"""Configuration files made to be slow: each of up to a megabyte is read or refused in little time, in few words."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import process_time

import pytest

from gateway.compile import blueprint
from gateway.configuration.load import load_policy
from gateway.configuration.problems import MAX_PROBLEMS, PolicyError
from gateway.configuration.yaml_source import MAX_BYTES

pytestmark = [pytest.mark.slow, pytest.mark.timed]

SECONDS = 1.0  # of CPU; measured: 0.55 at most
JUDGED = 4.0  # of CPU, with the document's own tests and all that requests need; measured: 1.9 at most, 2.5 on a busy machine
TOP = "version: 1\nbackends: {t: {protocol: triton-http, endpoints: [h:1]}}\n"
MODEL = TOP + "models:\n m:\n  variants:\n"
ONE = MODEL + "   v: {backend: t, model: m}\n  routes:\n"


def filled(before: str, part: str, after: str = "") -> str:
    """As much of `part` as goes into the largest file."""
    size = MAX_BYTES - len((before + after).encode())
    return before + part * (size // len(part.encode())) + after


def numbered(part: str, count: int) -> str:
    """The part so many times, each # in it the number."""
    return "".join(part.replace("#", str(number)) for number in range(count))


FILES = {
    "nested lists": filled("", "["),
    "nested mappings": filled("", "{a: "),
    "nested block lists": filled("", "- "),
    "nested keys": filled("", "? "),
    "steps": "".join(" " * depth + "a:\n" for depth in range(1400)),
    "a long plain scalar": filled("a: ", "x"),
    "a folded scalar": filled("a:\n", " x\n"),
    "folded blank lines": filled("a:\n x", "\n", "\n y"),
    "digits": filled("version: ", "9"),
    "a fraction": filled("version: .", "9"),
    "a long key": filled("? ", "x", "\n: 1"),
    "escapes": filled('a: "', "\\x41", '"'),
    "an open quote": filled("a: '", "x "),
    "block blanks": filled("a: |\n", "\n"),
    "comments": filled("", "#\n"),
    "blank comments with CR": filled("", "# \r\n"),
    "anchors": filled("[", "&a 1,"),
    "aliases": filled("[&a 1,", "*a,"),
    "tags": filled("[", "!a 1,"),
    "a tag that is never closed": filled("# ", "!", "\n!%C0%80 a"),
    "directives": numbered("%TAG !t#! tag:x\n", 40000),
    "documents": filled("", "---\n"),
    "ends": filled("", "...\n"),
    "ends and more": filled("---\n...", " "),
    "strange line breaks": filled("", "a\u2028"),
    "line breaks of CR": filled("", "a: 1\r"),
    "an unprintable end": filled("", "x", "\x07"),
    "zeros": filled("", "\0"),
    "small values": filled("[", "1,", "]"),
    "keys": numbered("k#: 1\n", 100_000),
    "unknown keys": TOP + numbered("mode#: 1\n", 40000),
    "the same key": filled("", "a: 1\n"),
    "models": TOP + "models:\n" + numbered(" m#: {variants: {f: {backend: t, model: m}}, routes: [{name: d, use: f}]}\n", 5000),
    "variants": MODEL + numbered("   v#: {backend: t, model: m}\n", 12000) + "  routes: [{name: d, use: v1}]\n",
    "endpoints": filled(TOP.replace("[h:1]}}", "["), "h:1,", "h:1]}}\n"),
    "words": filled(ONE + "   - {name: a, match: {tier: [", "x,", "x]}, use: v}\n   - {name: d, use: v}\n"),
    "routes": ONE + numbered("   - {name: r#, match: {tier: t#}, use: v}\n", 8000) + "   - {name: d, use: v}\n",
    "routes by header": ONE + numbered("   - {name: r#, match: {header: {h#: a}}, use: v}\n", 6000) + "   - {name: d, use: v}\n",
    "nested nots": ONE
    + "   - {name: a, match: "
    + "{not: " * 20
    + "{tier: x}"
    + "}" * 20
    + ", use: v}\n   - {name: d, use: v}\n",
    "names that resemble": MODEL
    + "".join(f"   {number:03}{'a' * 100}: {{backend: t, model: m}}\n" for number in range(600))
    + "  routes:\n"
    + numbered(f"   - {{name: r#, match: {{tier: t#}}, use: {'a' * 120}}}\n", 100)
    + "   - {name: d, use: v}\n",
    "versions": filled(ONE + "   - {name: d, use: v}\n  version_policy: specific(1", ", 1", "!)\n"),
    "a duration": filled(ONE + "   - {name: d, use: v, timeout: ", "1", "s}\n"),
    "aliases of aliases": ONE + "   - {name: d, use: v}\naliases:\n" + "".join(f" a{n}: a{n + 1}\n" for n in range(40000)),
    "tests": ONE + "   - {name: d, use: v}\ntests:\n" + numbered(" - {name: t#, request: {model: m}, expect: {use: v}}\n", 6000),
}


def variants(count: int) -> str:
    return MODEL + numbered("   v#: {backend: t, model: m}\n", count) + "  routes:\n"


def split(sides: int) -> str:
    listed = numbered("v#: 1, ", sides).removesuffix(", ")
    return variants(sides) + f"   - {{name: d, unit: tenant, split: {{{listed}}}}}\n"


def asked(count: int, by: str = "") -> str:
    return "tests:\n" + numbered(f" - {{name: t#, request: {{model: m{by}}}, expect: {{route: d}}}}\n", count)


def fallbacks(count: int, routes: int) -> str:
    chain = "".join(f"v{each}: v{each + 1}, " for each in range(count - 1)).removesuffix(", ")
    use = numbered("   - {name: r#, match: {tier: t#}, use: v0}\n", routes)
    return f"{variants(count)}{use}   - {{name: d, use: v0}}\n  fallback: {{{chain}}}\n"


LAST = "   - {name: d, use: v}\n"
NEVER = "   - {name: r#, match: {not: {tenant: [a, t#]}, tier: x#}, use: v}\n"
LOOKED_AT = "   - {name: r#, match: {rows: 1.., bytes: ..9B, not: {tier: [a, t#]}, header: {h#: a}}, use: v}\n"
SIDES = "".join(f"v{each}: 1, " for each in range(100)).removesuffix(", ")
WIDE = numbered("{tenant: t#}, ", 10_000)
JUDGE = {  # the first is one that once took four minutes
    "sides that nothing decides": split(4000) + asked(2400),
    "sides as many as are allowed": split(100) + asked(990),
    "sides that are decided": split(100) + asked(990, ", principal: {tenant: a}"),
    "every split once": variants(100)
    + numbered(f"   - {{name: d#, match: {{tier: t#}}, split: {{{SIDES}}}}}\n", 400)
    + "   - {name: d, use: v1}\n"
    + asked(400, ", principal: {tier: t#}").replace("route: d", "timeout: 30s"),
    "routes and tests": ONE + numbered(NEVER, 2000) + LAST + asked(2200),
    "routes and tests, as many as are allowed": ONE + numbered(LOOKED_AT, 1400) + LAST + asked(75),
    "a wide any": f"{ONE}   - {{name: a, match: {{any: [{WIDE} {{tier: x}}]}}, use: v}}\n{LAST}{asked(45)}",
    "tests that fail": split(100) + asked(900).replace("route: d", "use: v1"),
    "tests by themselves": ONE + LAST + asked(7000),
    "fallbacks of thousands": fallbacks(4000, 5000),
    "fallbacks of a hundred": fallbacks(100, 8000),
}


def within(seconds: float, read: Callable[[], object]) -> PolicyError | None:
    """What is said against it, in so many seconds of CPU."""
    refusal = None
    gc.freeze()  # what the tests before have left in this process is nothing that a gateway would have to walk through
    began = process_time()
    try:
        read()
    except PolicyError as error:
        refusal = error
    finally:
        gc.unfreeze()
    assert process_time() - began < seconds
    return refusal


@pytest.mark.parametrize("text", JUDGE.values(), ids=JUDGE.keys())
def test_judging(text: str) -> None:
    """A policy that runs its own tests, and is made ready for requests, has no time to be slow in either."""
    assert len(text.encode()) <= MAX_BYTES
    said = within(JUDGED, lambda: blueprint(text.encode(), "file.yaml"))
    assert len(str(said or "")) < 10_000 * MAX_PROBLEMS


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_time(text: str) -> None:
    """It takes little time, and what is said of it can be read."""
    raw = text.encode()
    assert len(raw) <= MAX_BYTES
    refusal = within(SECONDS, lambda: load_policy(raw, "file.yaml"))
    problems = len(refusal.problems) if refusal else 0
    assert problems <= MAX_PROBLEMS
    assert len(str(refusal or "")) < 1000 * (problems + 1)
