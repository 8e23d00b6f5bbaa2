"""`penstock rollout`: how a running gateway's rollouts stand, and what people want of them."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

import msgspec

from gateway.cli import remote
from gateway.cli.ink import Ink
from gateway.review.words import duration, share
from gateway.rollout.report import Report

_PROGRAM = "penstock rollout"
_ABOUT = "candidates that take a variant's place step by step, and are taken back when the evidence suffices"
_EXAMPLE = """examples:
  PENSTOCK_API_KEY=pk_… penstock rollout list
  penstock rollout show digits/accurate
  penstock rollout start digits/accurate --why "release 2.1"
  penstock rollout rollback digits/accurate --why "wrong labels" --json

exit status: 0, 1 if the answer is no (there is no such rollout, or it cannot be now), 2 used wrongly, or no gateway could be
asked
"""
_VERBS = {
    "start": "make the candidate ready and give it the first step's weight; after a rollback, once more from the beginning",
    "pause": "stay at this weight; the candidate is judged all the same",
    "resume": "go on",
    "promote": "end this step now, whatever the evidence says",
    "rollback": "give everything back to the stable variant",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rollout` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    rollout = subparsers.add_parser("rollout", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    commands = rollout.add_subparsers(dest="rollout_command", required=True, metavar="COMMAND")
    every = commands.add_parser("list", help="all of them, a line each", epilog=_EXAMPLE, formatter_class=raw)
    remote.add_arguments(every)
    every.set_defaults(run=_list)
    shown = commands.add_parser("show", help="one, with its evidence and its history", epilog=_EXAMPLE, formatter_class=raw)
    shown.add_argument("rollout", metavar="MODEL/VARIANT")
    remote.add_arguments(shown)
    shown.set_defaults(run=_show)
    for verb, told in _VERBS.items():
        parser = commands.add_parser(verb, help=told, description=told, epilog=_EXAMPLE, formatter_class=raw)
        parser.add_argument("rollout", metavar="MODEL/VARIANT")
        parser.add_argument("--why", default="", metavar="TEXT", help="for the log, the audit log and whoever looks later")
        remote.add_arguments(parser)
        parser.set_defaults(run=_act)


def _list(arguments: argparse.Namespace) -> int:
    content = remote.asked(arguments, _PROGRAM, "GET", "/api/rollouts")
    if isinstance(content, int):
        return content
    if arguments.json:
        print(json.dumps(content))
        return 0
    found = msgspec.convert(content["rollouts"], list[Report])
    if not found:
        print("the policy in force has no rollouts: docs/rollout.md says how to write one")
    for each in found:
        print(f"{each.model}/{each.rollout}  {_stands(each)}  {each.text}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    return _said(arguments, "GET", "", None)


def _act(arguments: argparse.Namespace) -> int:
    return _said(arguments, "POST", f"/{arguments.rollout_command}", {"why": arguments.why})


def _said(arguments: argparse.Namespace, method: str, more: str, body: object) -> int:
    if arguments.rollout.count("/") != 1:
        print(f"{_PROGRAM}: name a rollout as MODEL/VARIANT", file=sys.stderr)
        return 2
    content = remote.asked(arguments, _PROGRAM, method, f"/api/rollouts/{arguments.rollout}{more}", body)
    if isinstance(content, int):
        return content
    if arguments.json:
        print(json.dumps(content))
    else:
        print("\n".join(_lines(msgspec.convert(content, Report), Ink(sys.stdout))))
    return 0


def _stands(each: Report) -> str:
    verdict = f", {each.verdict}" if each.verdict else ""
    return f"{each.state}{verdict}  {share(each.weight)} to {each.candidate}"


def _lines(each: Report, ink: Ink) -> list[str]:
    said = [ink.strong(f"{each.model}/{each.rollout}") + f"  attempt {each.attempt}", f"  {_stands(each)}", f"  {each.text}"]
    if each.away:
        said.append(f"  {each.away}")
    elif len(each.gateways) > 1:
        said.append(f"  decided together by {len(each.gateways)} gateways: {', '.join(each.gateways)}")
    for index, step in enumerate(each.steps):
        here = f"  ← held {duration(round(each.held))}, {each.samples} requests" if index == each.step and each.verdict else ""
        said.append(f"  step {index + 1}: {share(step.weight)}, hold {duration(step.hold)}, {step.samples} requests{here}")
    said += [f"  {guard.text} (odds {guard.odds:.3g}, {len(each.guards) / each.alpha:g} suffice)" for guard in each.guards]
    for note in each.notes[-10:]:
        at = datetime.fromtimestamp(note.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        said.append(ink.faint(f"  {at} {note.who}: {note.what}, {note.state} at {share(note.weight)}: {note.text}"))
    return said
