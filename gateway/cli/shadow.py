"""`penstock shadow`: what a running gateway's shadows have seen, as text, as JSON, or as a page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import msgspec

from gateway.cli import remote
from gateway.cli.ink import Ink
from gateway.shadow.page import page
from gateway.shadow.report import Report
from gateway.shadow.text import lines

_ABOUT = "whether a candidate answers as the variant in use does, beyond that one's own noise"
_EXAMPLE = """example:
  PENSTOCK_API_KEY=pk_… penstock shadow report
  penstock shadow report digits/next-dark --html report.html
  penstock shadow report digits/next-dark --json && echo may be promoted

exit status: 0 every shadow that was asked about is the same, 1 one is different or not enough is known, 2 used wrongly, or no
gateway could be asked
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `shadow` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    shadow = subparsers.add_parser("shadow", help="what shadows have seen", epilog=_EXAMPLE, formatter_class=raw)
    commands = shadow.add_subparsers(dest="shadow_command", required=True, metavar="COMMAND")
    report = commands.add_parser("report", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    report.add_argument("shadow", nargs="?", metavar="MODEL/NAME", help="only this one")
    report.add_argument("--html", metavar="FILE", type=Path, help="write a page with plots, one file, instead of text")
    remote.add_arguments(report)
    report.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    wanted = "" if arguments.shadow is None else f"/{arguments.shadow}"
    if wanted and arguments.shadow.count("/") != 1:
        print("penstock shadow report: name a shadow as MODEL/NAME", file=sys.stderr)
        return 2
    try:
        content = remote.ask(arguments, "GET", f"/api/shadows{wanted}")
    except remote.RemoteError as error:
        print(f"penstock shadow report: {error}", file=sys.stderr)
        return 2
    except remote.NoError as error:
        print(json.dumps(error.content) if arguments.json else f"penstock shadow report: {error}", file=sys.stderr)
        return 2
    found = msgspec.convert([content] if wanted else content["shadows"], list[Report])
    if not found and not arguments.json:
        print("the policy in force has no shadows: docs/shadow.md says how to write one")
    elif arguments.json:
        print(json.dumps(content))
    elif arguments.html is None:
        ink = Ink(sys.stdout)
        print("\n\n".join("\n".join(lines(each, ink)) for each in found))
    if arguments.html is not None:
        arguments.html.write_text(page(found), "utf-8")
        print(f"written: {arguments.html}", file=sys.stderr)
    return 0 if all(each.verdict == "same" for each in found) else 1
