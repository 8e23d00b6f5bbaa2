"""`penstock policy seal`: gives a checked policy a closing line by which every later change, wanted or not, is seen."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from gateway.configuration.files import read_file, replace_file
from gateway.configuration.integrity import sealed, unsealed
from gateway.configuration.load import version
from gateway.configuration.problems import PolicyError, Problem
from gateway.review.report import report

_ABOUT = "check a policy, then let it end with the SHA-256 of all that stands before"
_EXAMPLE = """example:
  penstock policy seal config/policy.yaml            its last line becomes ... # sha256 0123456789abcdef…
  penstock policy seal --remove config/policy.yaml   its last line becomes ... # unsealed

Once a policy is sealed it is refused when anything in it was changed or is missing, until it is sealed anew; and none takes
its place that has no seal and does not say `unsealed`. The file is replaced as a whole; its mode and owner stay.

exit status: 0 the file is sealed (or unsealed), 1 it has mistakes and is left as it was, 2 it could not be read or written
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `seal`."""
    raw = argparse.RawDescriptionHelpFormatter
    seal = commands.add_parser("seal", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    seal.add_argument("file", metavar="FILE", type=Path, help="the policy document, such as config/policy.yaml")
    seal.add_argument("--remove", action="store_true", help="take the seal off, and say in its place that none is wanted")
    seal.add_argument("--json", action="store_true", help="print JSON")
    seal.set_defaults(run=run_seal)


def run_seal(arguments: argparse.Namespace) -> int:
    """Writes `arguments.file` anew with its seal, or without. 0: done; 1: it has mistakes; 2: it cannot be read or written."""
    name = str(arguments.file)
    try:
        before = read_file(arguments.file)
        after, problems = _closed(before, name, remove=arguments.remove)
        if not problems and after != before:
            replace_file(arguments.file, after)
    except OSError as error:
        print(f"penstock policy seal: {name}: {error.strerror or error}", file=sys.stderr)
        return 2
    if arguments.json:
        problem_list = [asdict(problem) for problem in problems]
        print(json.dumps({"file": name, "ok": not problems, "version": version(after), "problems": problem_list}))
    elif problems:
        for problem in problems:
            print(problem.text(name))
        print("the file is left as it was")
    else:
        print(f"{name}: {'unsealed' if arguments.remove else 'sealed'}, version {version(after)}")
    return 1 if problems else 0


def _closed(text: bytes, name: str, *, remove: bool) -> tuple[bytes, tuple[Problem, ...]]:
    """The file's content as it is to be, and what speaks against it, with the lines of the file as it is."""
    try:
        after = unsealed(text, name) if remove else sealed(text, name)
    except PolicyError as error:
        return text, error.problems
    has_ends = text.startswith(after[: after.rindex(b"...")])  # then only the seal can be wrong, which is made anew
    return after, report(after if has_ends else text, name).problems
