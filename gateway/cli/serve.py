"""`penstock serve`: the gateway in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  the only name that add_subparsers has in typeshed

_EXAMPLE = """example:
  penstock serve --config config/gateway.yaml --policy config/policy.yaml

A policy file that changes is taken into use by itself; `penstock policy history` and `rollback` go back.
signals: SIGHUP takes the policy and key files into use again; SIGUSR2 replaces the workers, by what gateway.yaml says now;
SIGTERM stops: not ready and serving on for drain.notice, then what is in flight ends; SIGINT the same, without notice
"""


def add_parser(subparsers: Subparsers) -> None:
    """Adds `serve` to the command line."""
    parser = subparsers.add_parser(
        "serve", help="run the gateway", epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config/gateway.yaml"), help="the process (default: %(default)s)")
    parser.add_argument("--policy", type=Path, default=Path("config/policy.yaml"), help="the policy (default: %(default)s)")
    parser.set_defaults(run=run_serve)


def run_serve(arguments: argparse.Namespace) -> int:
    """Serves until told to stop."""
    os.environ.setdefault(
        "GRPC_VERBOSITY", "NONE"
    )  # else its core reports a taken port or a backend's restart on stderr, in its own form
    from gateway.auth.settings import KeySourceError
    from gateway.configuration.problems import PolicyError
    from gateway.heap import keep_freed
    from gateway.serve import run  # here, so that `penstock keys` and `penstock policy` start without the whole gateway

    keep_freed()
    try:
        run(arguments.config, arguments.policy)
    except (PolicyError, KeySourceError) as error:
        print(f"penstock serve: cannot start:\n{error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"penstock serve: cannot start: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    return 0
