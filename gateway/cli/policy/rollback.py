"""`penstock policy rollback`: puts a policy in force again that a running gateway had in force before."""

from __future__ import annotations

import argparse
import json
import sys

from gateway.cli import remote

_ABOUT = "put an earlier policy in force again, at once, and write it to the gateway's policy file"
_EXAMPLE = """example:
  PENSTOCK_API_KEY=pk_… penstock policy rollback 3f2a9c01d4e8
  penstock policy rollback 3f2a9c01d4e8 --admin http://127.0.0.1:8082 --key-file ~/.penstock-key

`penstock policy history` lists the versions. Where the file cannot be written (a read-only mount, a link), the policy is in force
until the file changes or the gateway is told to reload; the answer says so.

exit status: 0 it is in force, 1 it is not kept or cannot be used, 2 no gateway could be asked
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rollback`."""
    raw = argparse.RawDescriptionHelpFormatter
    rollback = commands.add_parser("rollback", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    rollback.add_argument("version", metavar="VERSION", help="as `penstock policy history` shows it")
    remote.add_arguments(rollback)
    rollback.set_defaults(run=run_rollback)


def run_rollback(arguments: argparse.Namespace) -> int:
    """Has it put in force. 0: it is; 1: the gateway refused; 2: nobody could be asked."""
    try:
        content = remote.ask(arguments, "POST", "/api/policy/rollback", {"version": arguments.version})
    except remote.RemoteError as error:
        print(f"penstock policy rollback: {error}", file=sys.stderr)
        return 2
    except remote.NoError as error:
        if arguments.json:
            print(json.dumps(error.content))
        print(f"penstock policy rollback: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(content))
        return 0
    print(f"version {content['version']} is in force, before it {content['before']}")
    if content["note"]:
        print(f"note: {content['note']}")
    return 0
