"""`penstock policy history`: which policies a running gateway has had in force, since when and by whom."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gateway.cli import remote
from gateway.cli.ink import Ink

_ABOUT = "list the policies that a running gateway can be rolled back to"
_EXAMPLE = """example:
  PENSTOCK_API_KEY=pk_… penstock policy history
  penstock policy history --admin http://127.0.0.1:8082 --key-file ~/.penstock-key --json | jq -r '.versions[1].version'

The newest stands first, * is in force. With `state` in gateway.yaml they outlive the gateway, in STATE/policies.

exit status: 0, or 2 if no gateway could be asked
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `history`."""
    raw = argparse.RawDescriptionHelpFormatter
    history = commands.add_parser("history", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    remote.add_arguments(history)
    history.set_defaults(run=run_history)


def run_history(arguments: argparse.Namespace) -> int:
    """Prints the versions. 0: there they are; 2: nobody could be asked."""
    try:
        content = remote.ask(arguments, "GET", "/api/policy/history")
    except (remote.RemoteError, remote.NoError) as error:
        print(f"penstock policy history: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(content))
        return 0
    ink = Ink(sys.stdout)
    print(ink.faint(f"  {'version':12}  {'in force since (UTC)':20}  by"))
    for each in content["versions"]:
        line = f"{each['version']:12}  {each['time'][:19].replace('T', ' '):20}  {_by(each)}"
        print(ink.strong(f"* {line}") if each["version"] == content["version"] else f"  {line}")
    for name in content["damaged"]:
        print(f"damaged, left out: {name}", file=sys.stderr)
    return 0


def _by(each: dict[str, Any]) -> str:
    if each["via"] == "start":
        return "the start of the gateway"
    how = f" ({each['what']} over the API)" if each["via"] == "api" else ""
    return ("a change of the file" if each["via"] == "file" else str(each["who"])) + how
