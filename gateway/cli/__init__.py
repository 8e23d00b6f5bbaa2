"""The `penstock` command: one module for each word after it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from gateway import __version__
from gateway.cli import audit, cache, calibrate, experiment, keys, policy, rollout, router, serve, shadow

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
    for command in (serve, policy, calibrate, shadow, rollout, audit, experiment, keys, cache, router):
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    return _told(arguments.run, arguments)


def _told(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Runs the command and sees to it that what it says can be said: on any terminal, to a reader who leaves, on a full disk."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of another encoding than UTF-8 has no ✓ and no →
    try:
        status = run(arguments)
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # some other file
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's own flush at the end complains
        if isinstance(error, BrokenPipeError):  # `penstock … | head`: whoever read has enough
            return 1
        print(f"penstock: the output cannot be written: {error.strerror or error}", file=sys.stderr)
        return 2
    return status
