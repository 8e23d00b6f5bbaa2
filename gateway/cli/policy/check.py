"""`penstock policy check`: every mistake in a policy document at once, its own tests included."""

from __future__ import annotations

import argparse
import json
import stat
import sys
from dataclasses import asdict, replace
from pathlib import Path

from gateway.cli.policy import live
from gateway.cli.source import read
from gateway.configuration.load import version
from gateway.configuration.schema_policy import PolicyDocument
from gateway.review.report import Report, report
from gateway.review.words import counted

_EXAMPLE = """example:
  penstock policy check config/policy.yaml
  penstock policy check --json config/policy.yaml | jq '.problems[].line'
  penstock policy check --live config/policy.yaml

exit status: 0 the policy can be used, 1 it cannot (or, with --live, not with these backends), 2 the file could not be read
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `check`."""
    about = "say whether a policy can be used, and every mistake in it if not"
    raw = argparse.RawDescriptionHelpFormatter
    check = commands.add_parser("check", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    check.add_argument("file", metavar="FILE", help="the policy document, such as config/policy.yaml; - is stdin")
    check.add_argument("--json", action="store_true", help="print JSON")
    live.add_flags(check)
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Prints every problem of `arguments.file`, or that there is none. 0: none; 1: some; 2: no such file."""
    name = arguments.file
    try:
        text, mode = read(name), 0 if name == "-" else Path(name).stat().st_mode
    except OSError as error:
        print(f"penstock policy check: {name}: {error.strerror or error}", file=sys.stderr)
        return 2
    found = report(text, name)
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        note = f"everybody may write this file, so the gateway does not take it: chmod o-w {name}"
        found = replace(found, notes=(*found.notes, note))
    asked = arguments.live and not found.problems
    if asked and found.document is not None:
        found = replace(found, problems=live.look(found.document, text, name, arguments.timeout))
    if arguments.json:
        _print_json(found, name, version(text))
    elif found.problems:
        for problem in found.problems:
            print(problem.text(name))
        print(f"{counted(len(found.problems), 'problem')}; the policy cannot be used{' with these backends' if asked else ''}")
    elif found.document is not None:
        print(f"{name}: ok, version {version(text)}: {_summary(found.document)}{'; the backends have it all' if asked else ''}")
        for note in found.notes:
            print(f"note: {note}")
    return 1 if found.problems else 0


def _print_json(found: Report, name: str, version: str) -> None:
    problems = [asdict(problem) for problem in found.problems]
    answer = {"file": name, "ok": not problems, "version": version, "problems": problems, "notes": found.notes}
    print(json.dumps(answer))


def _summary(document: PolicyDocument) -> str:
    routes = sum(len(model.routes) for model in document.models.values())
    counts = {"backend": len(document.backends), "model": len(document.models), "route": routes}
    if document.tests:
        counts["test"] = len(document.tests)
    return ", ".join(counted(count, what) for what, count in counts.items())
