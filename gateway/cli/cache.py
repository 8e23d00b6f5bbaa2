"""`penstock cache`: throws away answers that a running gateway has kept."""

from __future__ import annotations

import argparse
import json
import sys

from gateway.cli import remote

_ABOUT = "throw away kept answers: at once in every worker, within a second at all gateways that share a store"
_EXAMPLE = """example:
  PENSTOCK_API_KEY=pk_… penstock cache purge --model digits
  penstock cache purge --model digits --variant accurate --version 3
  penstock cache purge --tag vision --admin http://127.0.0.1:8082 --key-file ~/.penstock-key
  penstock cache purge --all

All that is said must hold. Needed when a model has changed and kept its version number; a new version number or a changed policy
makes the old answers unreachable by itself.

exit status: 0 it is done, 1 the policy has no such model, variant or tag, 2 used wrongly, or no gateway could be asked
"""
_WORDS = {
    "model": "by its public name",
    "variant": "by its name in the policy",
    "version": "that answered",
    "tag": "of the cache",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `cache` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    cache = subparsers.add_parser("cache", help="throw away kept answers", epilog=_EXAMPLE, formatter_class=raw)
    commands = cache.add_subparsers(dest="cache_command", required=True, metavar="COMMAND")
    purge = commands.add_parser("purge", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    for word, of in _WORDS.items():
        purge.add_argument(f"--{word}", default="", metavar="NAME", help=f"only answers of this {word}, {of}")
    purge.add_argument("--all", action="store_true", help="all answers of all models")
    remote.add_arguments(purge)
    purge.set_defaults(run=_purge)


def _purge(arguments: argparse.Namespace) -> int:
    which = {word: getattr(arguments, word) for word in _WORDS if getattr(arguments, word)}
    if bool(which) == arguments.all:
        print("penstock cache purge: say which answers (--model, --variant, --version, --tag), or --all", file=sys.stderr)
        return 2
    try:
        content = remote.ask(arguments, "POST", "/api/cache/purge", which)
    except remote.RemoteError as error:
        print(f"penstock cache purge: {error}", file=sys.stderr)
        return 2
    except remote.NoError as error:
        if arguments.json:
            print(json.dumps(error.content))
        print(f"penstock cache purge: {error}", file=sys.stderr)
        return 1
    print(json.dumps(content) if arguments.json else f"purged: {content['purged']}")
    if content.get("heard") is False:
        print(
            "penstock cache purge: done here; the store is away, and other gateways hear of it when it is back", file=sys.stderr
        )
    return 0
