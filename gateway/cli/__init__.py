"""The `penstock` command: one module for each word after it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from gateway import __version__
from gateway.cli import keys, policy, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 (the answer is no) or 2 (used wrongly)."""
    parser = argparse.ArgumentParser(
        prog="penstock", description="One endpoint in front of the GPUs: a policy decides which model answers."
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (serve, policy, keys):
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)
