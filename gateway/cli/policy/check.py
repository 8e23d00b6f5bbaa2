"""`penstock policy check`: every mistake in a policy document at once."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from gateway.configuration.files import MAX_BYTES
from gateway.configuration.load import load_policy, version
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_policy import PolicyDocument

_EXAMPLE = """example:
  penstock policy check config/policy.yaml
  penstock policy check --json config/policy.yaml | jq '.problems[].line'

exit status: 0 the policy can be used, 1 it cannot, 2 the file could not be read
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `check`."""
    about = "say whether a policy can be used, and every mistake in it if not"
    raw = argparse.RawDescriptionHelpFormatter
    check = commands.add_parser("check", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    check.add_argument("file", metavar="FILE", type=Path, help="the policy document, such as config/policy.yaml")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Prints every problem of `arguments.file`, or that there is none. 0: none; 1: some; 2: no such file."""
    name = str(arguments.file)
    try:
        with arguments.file.open("rb") as file:  # pipes too, so that `policy check <(…)` works
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        print(f"penstock policy check: {name}: {error.strerror or error}", file=sys.stderr)
        return 2
    try:
        document = load_policy(text, name)
    except PolicyError as error:
        _print_refusal(error, version(text), arguments.json)
        return 1
    if arguments.json:
        print(json.dumps({"file": name, "ok": True, "version": version(text), "problems": []}))
    else:
        print(f"{name}: ok, version {version(text)}: {_summary(document)}")
    return 0


def _print_refusal(error: PolicyError, name: str, as_json: bool) -> None:
    if as_json:
        problems = [asdict(problem) for problem in error.problems]
        print(json.dumps({"file": error.name, "ok": False, "version": name, "problems": problems}))
        return
    for problem in error.problems:
        print(problem.text(error.name))
    print(f"{_counted(len(error.problems), 'problem')}; the policy cannot be used")


def _summary(document: PolicyDocument) -> str:
    routes = sum(len(model.routes) for model in document.models.values())
    counts = {"backend": len(document.backends), "model": len(document.models), "route": routes}
    return ", ".join(_counted(count, what) for what, count in counts.items())


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
