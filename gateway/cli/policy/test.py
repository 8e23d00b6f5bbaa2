"""`penstock policy test`: the document's own tests, and whether they would notice a rule gone wrong."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from gateway.cli.ink import Ink
from gateway.cli.progress import SILENCE, Progress
from gateway.cli.source import read
from gateway.configuration.load import load_policy, version
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import route_tables
from gateway.configuration.yaml_source import Source, parse
from gateway.review.mutate import Rule, examine
from gateway.review.trial import Failure, failures
from gateway.review.words import counted

MUTATING_SECONDS = 60.0  # seconds that mutants are tried for
_EXAMPLE = """examples:
  penstock policy test config/policy.yaml
  penstock policy test --mutate config/policy.yaml      # is there a test for every rule?

With --mutate every route is made wrong in small ways: taken away, a condition left out or turned round, moved below the next,
another variant in its place, a stage or a side lost. Whatever no test notices is reported, with a test that would.

exit status: 0 all tests hold (and notice everything), 1 some do not, or the policy cannot be used, 2 the file could not be read
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `test`."""
    about = "run the tests that a policy document has of its own"
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser("test", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    default = "config/policy.yaml"
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default=default, help="the document (default: %(default)s); - is stdin"
    )
    parser.add_argument("--mutate", action="store_true", help="also find rules that no test would miss")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_test)


@dataclass(frozen=True, slots=True)
class _Tested:
    """A document, where its parts stand, and what came of its tests."""

    document: PolicyDocument
    source: Source
    version: str
    failed: dict[int, Failure]

    def line(self, *path: str | int) -> int:
        return self.source.mark(path).line


def run_test(arguments: argparse.Namespace) -> int:
    """Prints what came of each test. 0: all is well; 1: it is not; 2: no such file."""
    try:
        text = read(arguments.file)
    except OSError as error:
        print(f"penstock policy test: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    try:
        document = load_policy(text, arguments.file)
    except PolicyError as error:
        print(f"{error}\nthe policy cannot be used", file=sys.stderr)
        return 1
    failed = {failure.index: failure for failure in failures(document, route_tables(document))}
    tested = _Tested(document, parse(text, arguments.file), version(text), failed)
    if not arguments.json:
        print("\n".join(_results(tested, Ink(sys.stdout))))
    rules = list(_examined(document)) if arguments.mutate and not failed else []
    total = sum(len(model.routes) for model in document.models.values()) + len(document.limits)
    if arguments.json:
        print(json.dumps(_as_json(tested, arguments, rules, total)))
    elif arguments.mutate:
        print("\n".join(_report(tested, rules, total, Ink(sys.stdout))))
    untested = arguments.mutate and (len(rules) < total or any(rule.survivors for rule in rules))
    return 1 if failed or untested else 0


def _examined(document: PolicyDocument) -> Iterator[Rule]:
    """The rules as far as they can be examined in time; now and then a line on stderr says how far that is."""
    began, progress = time.monotonic(), Progress("penstock policy test", SILENCE)
    for number, rule in enumerate(examine(document, route_tables(document)), 1):
        yield rule
        if time.monotonic() - began > MUTATING_SECONDS:
            return
        progress.tell(f"{counted(number, 'rule')} examined")


def _results(tested: _Tested, ink: Ink) -> Iterator[str]:
    for index, test in enumerate(tested.document.tests):
        failure = tested.failed.get(index)
        if failure is None:
            yield f"{ink.good('✓')} {test.name}"
            continue
        yield ink.bad(f"✗ {test.name}") + ink.faint(f"  line {tested.line('tests', index)}")
        yield f"    expected  {failure.expected}"
        yield f"    came      {failure.came}"
        yield from (f"    because   {reason}" for reason in failure.why)
    if not tested.document.tests:
        yield f"{tested.source.name} has no tests; write some under `tests:`"
        return
    all_of_them = counted(len(tested.document.tests), "test")
    yield ink.bad(f"{all_of_them}, {len(tested.failed)} failed") if tested.failed else f"{all_of_them}, all hold"


def _report(tested: _Tested, rules: list[Rule], total: int, ink: Ink) -> Iterator[str]:
    if tested.failed:
        yield "mutants are tried when all tests hold"
        return
    for rule in rules:
        if rule.survivors:
            line = ink.faint(f"  line {tested.line(*rule.path)}")
            yield from ("", ink.bad(f"✗ {rule.called}") + line)
            yield from (f"    no test fails if {survivor.said}" for survivor in rule.survivors)
    tests = dict.fromkeys(survivor.test for rule in rules for survivor in rule.survivors)
    if tests:
        yield from ("", "these would fail, under `tests:`")
        yield from (f"  {line}" for test in tests for line in test)
    tried = counted(sum(rule.mutants for rule in rules), "mutant")
    survived = sum(len(rule.survivors) for rule in rules)
    yield from (
        "",
        f"{counted(len(rules), 'rule')}, {tried}, " + (ink.bad(f"{survived} not noticed") if survived else "all noticed"),
    )
    if len(rules) < total:
        yield f"{counted(total - len(rules), 'rule')} not examined within {MUTATING_SECONDS:g} s"


def _as_json(tested: _Tested, arguments: argparse.Namespace, rules: list[Rule], total: int) -> dict[str, object]:
    tests = [
        {"name": test.name, "line": tested.line("tests", index), "ok": index not in tested.failed}
        | (msgspec.to_builtins(tested.failed[index]) if index in tested.failed else {})
        for index, test in enumerate(tested.document.tests)
    ]
    found: dict[str, object] = {"file": arguments.file, "version": tested.version, "ok": not tested.failed, "tests": tests}
    if arguments.mutate:
        lined = [msgspec.to_builtins(rule) | {"line": tested.line(*rule.path)} for rule in rules]
        found |= {"rules": lined, "not_examined": total - len(rules)}
    return found
