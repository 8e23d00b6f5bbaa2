"""The `penstock` command: one module for each word after it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from gateway import __version__
from gateway.cli import keys, policy, serve

_EXAMPLES = """examples:
  penstock keys new --subject me --file config/api-keys.yaml
  penstock policy check config/policy.yaml
  penstock serve --config config/gateway.yaml --policy config/policy.yaml

exit status: 0, 1 if the answer is no, 2 if used wrongly; each command has its own --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 (the answer is no) or 2 (used wrongly)."""
    parser = argparse.ArgumentParser(
        prog="penstock",
        description="One endpoint in front of the GPUs: a policy decides which model answers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (serve, policy, keys):
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `penstock … | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's own flush at the end complains
        return 1
    return status
