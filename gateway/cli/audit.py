"""`penstock audit`: whether what a running gateway's cascades keep is right, and the end of an alarm."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.audit.report import JUDGED, Report
from gateway.cli import remote
from gateway.cli.ink import Ink
from gateway.shadow.report import percent

_PROGRAM = "penstock audit"
_ABOUT = "whether rows that cascades keep are answered as the dearest stage would"
_EXAMPLE = """examples:
  PENSTOCK_API_KEY=pk_… penstock audit list
  penstock audit show digits/default
  penstock audit resume digits/default --why "the labels were renamed, both models know"

exit status: 0, 1 if the answer is no (there is no such audit, or what is listed or shown is in alarm), 2 used wrongly, or no
gateway could be asked
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `audit` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    audit = subparsers.add_parser("audit", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    commands = audit.add_subparsers(dest="audit_command", required=True, metavar="COMMAND")
    words = {
        "list": "all of them, a line each",
        "show": "one, with its numbers",
        "resume": "end the alarm: the cascade answers again, and its audit begins anew",
    }
    for word, told in words.items():
        parser = commands.add_parser(word, help=told, description=told, epilog=_EXAMPLE, formatter_class=raw)
        if word != "list":
            parser.add_argument("audit", metavar="MODEL/ROUTE")
        if word == "resume":
            parser.add_argument("--why", default="", metavar="TEXT", help="for the log, the audit log and whoever looks later")
        remote.add_arguments(parser)
        parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    command = arguments.audit_command
    if command != "list" and arguments.audit.count("/") != 1:
        print(f"{_PROGRAM}: name an audit as MODEL/ROUTE", file=sys.stderr)
        return 2
    content = _asked(arguments, command)
    if isinstance(content, int):
        return content
    found = msgspec.convert(content["audits"] if command == "list" else [content], list[Report])
    if arguments.json:
        print(json.dumps(content))
    elif not found:
        print("the policy in force audits no cascade: docs/audit.md says how")
    else:
        ink = Ink(sys.stdout)
        print("\n".join(_line(each, ink) if command == "list" else "\n".join(_lines(each, ink)) for each in found))
    return int(any(each.alarm for each in found))


def _asked(arguments: argparse.Namespace, command: str) -> dict[str, Any] | int:
    if command == "list":
        return remote.asked(arguments, _PROGRAM, "GET", "/api/audits")
    if command == "show":
        return remote.asked(arguments, _PROGRAM, "GET", f"/api/audits/{arguments.audit}")
    return remote.asked(arguments, _PROGRAM, "POST", f"/api/audits/{arguments.audit}/resume", {"why": arguments.why})


def _line(each: Report, ink: Ink) -> str:
    paint = ink.bad if each.alarm else ink.good
    return f"{ink.strong(f'{each.model}/{each.route}')}  {paint(each.state)}  {each.text}"


def _lines(each: Report, ink: Ink) -> Iterator[str]:
    yield _line(each, ink)
    yield f"  {percent(each.share)} of the kept rows are held against {each.dear}, since {each.began}"
    yield f"  {each.requests:,} audited requests with {each.rows:,} rows, {each.different:,} different; cost {each.cost:g}"
    if each.dropped:
        why = ", ".join(f"{word} {count:,}" for word, count in each.outcomes.items() if word not in JUDGED)
        yield f"  {each.dropped:,} drawn and not judged: {why}"
    if each.alarm:
        yield f"  alarm since {each.alarm}: {each.suggestion}"
    else:
        yield f"  evidence {each.evidence:.2g}; the alarm is at 1"
