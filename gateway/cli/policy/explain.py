"""`penstock policy explain`: what the policy does with one request, decision by decision."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from gateway.cli.ink import Ink
from gateway.cli.policy.explained import lines
from gateway.cli.source import read
from gateway.configuration.load import load_policy, version
from gateway.configuration.problems import PolicyError, Problem, UnreadableError
from gateway.configuration.quantities import read_size
from gateway.configuration.yaml_source import Value, resolve
from gateway.review.explain import explain
from gateway.review.written import read_request

_PROGRAM = "penstock policy explain: "
_EXAMPLE = """examples:
  penstock policy explain --model digits --tier free --rows 64
  penstock policy explain --model digits --tenant acme --header x-experiment=1 --parameter preview=true
  penstock policy explain request.json --tier enterprise      # the file, but for what is said beside it
  penstock policy explain --json - < request.json | jq .answers

a request file: {"model": "digits", "principal": {"tenant": "acme", "tier": "free"}, "rows": 64, "headers": {"x-a": "1"}}

exit status: 0 it would be answered, 1 it would be refused, or the policy cannot be used, 2 used wrongly
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `explain`."""
    about = "say what the policy does with a request, and why"
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser("explain", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    parser.add_argument("request", metavar="REQUEST.json", nargs="?", help="the request; - reads it from stdin")
    parser.add_argument("--policy", type=Path, default=Path("config/policy.yaml"), help="the document (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.add_argument_group("the request, or what is to be different from the file's")
    for option, path, about in _PLAIN:
        asked.add_argument(option, dest=".".join(path), metavar=option.strip("-").upper(), help=about)
    asked.add_argument("--scope", dest="scopes", action="append", metavar="SCOPE", help="models:infer unless said; repeatable")
    for option, dest, metavar, about in _PAIRS:
        asked.add_argument(option, dest=dest, action="append", default=[], type=_pair, metavar=metavar, help=about)
    parser.set_defaults(run=run_explain)


_PLAIN = (
    ("--model", ("model",), "the name in the client's URL, or an alias"),
    ("--tenant", ("principal", "tenant"), "who asks"),
    ("--tier", ("principal", "tier"), "in which tier"),
    ("--subject", ("principal", "subject"), "as whom"),
    ("--rows", ("rows",), "how many rows (default: 1; null: the inputs share no first dimension)"),
    ("--bytes", ("bytes",), "size of the input tensors: 4096, 1MiB"),
    ("--priority", ("priority",), "0, the highest, to 9"),
    ("--model-version", ("version",), "the version the client insists on"),
    ("--request-id", ("request_id",), "decides a split by request"),
)
_PAIRS = (
    ("--header", "headers", "NAME=VALUE", "a header; repeatable"),
    ("--parameter", "parameters", "NAME=VALUE", "a parameter: true, 3 or text; repeatable"),
    ("--text-length", "text_length", "INPUT=N", "characters of a text input's longest element; repeatable"),
    ("--prompt", "prompt", "ROUTER=SCORE", "what `penstock router score` says of the text; repeatable"),
)


def run_explain(arguments: argparse.Namespace) -> int:
    """Prints the explanation. 0: answered; 1: refused; 2: used wrongly."""
    try:
        words = dict(_words(arguments))
    except UnreadableError as error:
        print(_PROGRAM + _unplaced(Problem("bytes", 0, error.message, error.suggestion)), file=sys.stderr)
        return 2
    name = {"-": "stdin", None: "the request"}.get(arguments.request, arguments.request)
    try:
        policy = read(str(arguments.policy))
        asked = None if arguments.request is None else read(arguments.request)
    except OSError as error:
        print(f"{_PROGRAM}{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    if asked is None and not words:
        print(_PROGRAM + "say which request: a file, or at least --model", file=sys.stderr)
        return 2
    try:
        document = load_policy(policy, str(arguments.policy))
    except PolicyError as error:
        print(f"{error}\nthe policy cannot be used", file=sys.stderr)
        return 1
    try:
        request = read_request(asked, name, words)
    except PolicyError as error:
        said = [problem.text(name) if asked is not None else _PROGRAM + _unplaced(problem) for problem in error.problems]
        print("\n".join(said), file=sys.stderr)
        return 2
    explanation = explain(document, request, version(policy))
    if arguments.json:
        print(msgspec.json.encode(explanation).decode())
    else:
        print("\n".join(lines(explanation, str(arguments.policy), Ink(sys.stdout))))
    return 0 if explanation.refused is None else 1


def _unplaced(problem: Problem) -> str:
    """Without the line: the command line has none."""
    return replace(problem, line=0).text("").removeprefix(":0: ")


def _words(arguments: argparse.Namespace) -> Iterator[tuple[tuple[str, ...], Value]]:
    """What is said on the command line, and where in a request it belongs."""
    for _, path, _ in _PLAIN:
        said = getattr(arguments, ".".join(path))
        if said is not None:
            yield path, _READ.get(path[-1], str)(said)
    if arguments.scopes:
        yield ("principal", "scopes"), arguments.scopes
    for _, dest, _, _ in _PAIRS:
        for name, value in getattr(arguments, dest):
            yield (dest, name), value if dest == "headers" else resolve(value)


def _size(said: str) -> Value:
    """Raises UnreadableError."""
    number = resolve(said)
    return read_size(number) if isinstance(number, str) else number


_READ: dict[str, Callable[[str], Value]] = {"rows": resolve, "bytes": _size, "priority": resolve}


def _pair(said: str) -> tuple[str, str]:
    name, equals, value = said.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{said!r} is not NAME=VALUE")
    return name, value
