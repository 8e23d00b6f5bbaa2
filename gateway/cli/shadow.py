"""`penstock shadow`: what a running gateway's shadows have seen, as text, as JSON, or as a page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.cli import remote
from gateway.cli.columns import columns
from gateway.cli.ink import Ink
from gateway.page import Table
from gateway.shadow.page import page
from gateway.shadow.report import Report
from gateway.shadow.tables import compared, counts, fields, said, slices, window

SHOWN = 12  # slices
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
    content = remote.asked(arguments, "penstock shadow report", "GET", f"/api/shadows{wanted}")
    if isinstance(content, int):
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


def lines(report: Report, ink: Ink) -> Iterator[str]:
    """The report, line by line."""
    paint = {"same": ink.good, "different": ink.bad}.get(report.verdict, ink.strong)
    yield f"{ink.strong(f'{report.model}/{report.shadow}')}  {said(report)}"
    yield f"{paint(report.verdict.upper())}: {report.why}"
    yield f"promotion would change: {report.promotion}"
    yield f"window    {window(report)}"
    yield f"questions {counts(report)}"
    if report.fields:
        yield from ("", *_table(fields(report)))
        yield from _details(report)
    if report.questions:
        yield from ("", *_table(compared(report)))
    if report.slices:
        head, rows = slices(report)
        yield from ("", *_table((head, rows[:SHOWN])))
        if len(rows) > SHOWN:
            yield ink.faint(f"… and {len(rows) - SHOWN} more")
    if report.examples:
        yield from ("", "worst examples, by request id")
        for each in report.examples:
            why = ", ".join(f"{field}: {word}" for field, word in each.fields.items())
            yield f"  {each.request}  {why}" + ("  (the primary differed from itself, too)" if each.noisy else "")
            yield from (f"    {name}: {value}" for name, value in each.payload.items())


def _details(report: Report) -> Iterator[str]:
    for field in report.fields:
        told = [f"{word} {count:,}×" for word, count in sorted(field.whys.items(), key=lambda each: -each[1])[:4]]
        told += [f"{flip} {count:,}×" for flip, count in sorted(field.flips.items(), key=lambda each: -each[1])[:4]]
        told += [f"{name} ≤ {value:.3g}, mean {field.means[name]:.3g}" for name, value in field.largest.items() if value]
        if told:
            yield f"  {field.field}: {'; '.join(told)}"


def _table(table: Table) -> Iterator[str]:
    head, rows = table
    return columns([head, *rows])
