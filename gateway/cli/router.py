"""`penstock router`: trains a prompt router from labelled prompts, tells what one is worth, and scores a text with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec

from gateway.calibrate.reading import RowsError
from gateway.configuration.files import read_file
from gateway.configuration.problems import UnreadableError
from gateway.configuration.quantities import read_share
from gateway.prompts.report import Worth, patch, told, worth
from gateway.prompts.rows import Columns, Prompts, check_enough, gather, recorded
from gateway.prompts.training import CHARACTERS, Settings, fitted, scored, unseen
from routing.prompt.file import MAX_BYTES, MAX_CHARACTERS, read_router, scorer, write_router
from routing.prompt.gain import Numbers
from routing.prompt.scorer import Scorer

_ABOUT = "send hard prompts to the strong model: train a router from labelled prompts, and see what it is worth"
_TRAIN = "train a router from labelled prompts; needs pip install 'penstock[offline]'"
_MEASURE = "tell what a router is worth on labelled prompts that it was not trained on"
_SCORE = "score one text: the chance that it needs the strong model"
_EXAMPLE = """examples:
  penstock router train --rows prompts.csv --text prompt --label needs --output config/difficulty.json --share 30%
  penstock router train --rows a.jsonl --rows b.parquet --text prompt --weak small_score --strong large_score --output r.json
  penstock router train --rows prompts.jsonl --pairs pairs.jsonl --weak small --strong large --output r.json
  penstock router measure config/difficulty.json --rows later.csv --text prompt --label needs --costs 1,40
  penstock router score config/difficulty.json "Prove that there is no largest prime."

exit status: 0, 1 the rows or the router are no good (or the strong model gains nothing), 2 used wrongly, or a file could not be
read or written
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `router`."""
    raw = argparse.RawDescriptionHelpFormatter
    router = subparsers.add_parser("router", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    commands = router.add_subparsers(dest="router_command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help=_TRAIN, description=_TRAIN, epilog=_EXAMPLE, formatter_class=raw)
    train.add_argument("--output", metavar="FILE", type=Path, required=True, help="the router; a file that is there is kept")
    train.add_argument("--words", type=int, choices=(1, 2), default=1, help="2: pairs of words count too (default: %(default)s)")
    train.add_argument(
        "--characters", type=_characters, default=CHARACTERS, metavar="N", help="of a text that are read (default: %(default)s)"
    )
    measure = commands.add_parser("measure", help=_MEASURE, description=_MEASURE, epilog=_EXAMPLE, formatter_class=raw)
    measure.add_argument("router", metavar="ROUTER", type=Path)
    for command, run in ((train, _train), (measure, _measure)):
        _add_rows(command)
        command.set_defaults(run=_reported(run))
    score = commands.add_parser("score", help=_SCORE, description=_SCORE, epilog=_EXAMPLE, formatter_class=raw)
    score.add_argument("router", metavar="ROUTER", type=Path)
    score.add_argument("text", metavar="TEXT", help="- reads it from stdin")
    score.set_defaults(run=_reported(_score))


def _add_rows(command: argparse.ArgumentParser) -> None:
    rows = "prompts in CSV, JSON lines or Parquet; repeatable"
    command.add_argument("--rows", metavar="FILE", type=Path, action="append", required=True, help=rows)
    command.add_argument("--text", metavar="COLUMN", default="text", help="has the prompts (default: %(default)s)")
    command.add_argument("--label", metavar="COLUMN", default="", help="says strong or weak (1 or 0): which model was needed")
    command.add_argument("--weak", metavar="COLUMN", default="", help="in place of --label: the quality of the weak answer")
    command.add_argument("--strong", metavar="COLUMN", default="", help="and of the strong one: numbers, or 1 and 0 for right")
    shadow = "in place of both: what shadows recorded (telemetry.pairs); --weak and --strong name the variants; repeatable"
    command.add_argument("--pairs", metavar="FILE", type=Path, action="append", default=[], help=shadow)
    command.add_argument("--share", metavar="SHARE", type=_share, help="of the prompts that shall go to the strong model: 30%%")
    command.add_argument("--costs", metavar="WEAK,STRONG", type=_costs, help="of an answer, to tell what a share costs: 1,40")
    command.add_argument("--seed", type=int, default=0, help="of what is drawn by chance (default: %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON")


def _train(arguments: argparse.Namespace) -> int:
    if arguments.output.exists():
        raise RowsError(f"{arguments.output} is there already; a gateway may be using it, so give the new router a new name")
    prompts = _prompts(arguments)
    check_enough(prompts)
    settings = Settings(arguments.words, arguments.characters, arguments.seed)
    print(f"{len(prompts.texts):,} prompts; training six times, to know what it is worth …", file=sys.stderr)
    found = _worth(prompts, unseen(prompts, settings), arguments)
    try:
        content = write_router(fitted(prompts.texts, prompts.needed, settings))
    except ValueError as error:
        raise RowsError(f"the router {error}: train with --words 1, or with fewer --characters") from None
    with arguments.output.open("xb") as file:
        file.write(content)
    named = sha256(content).hexdigest()
    if arguments.json:
        print(msgspec.json.encode({"file": str(arguments.output), "sha256": named, **msgspec.to_builtins(found)}).decode())
        return 0
    print("\n".join(told(found)))
    print(f"\nwritten: {arguments.output} ({len(content):,} bytes). Nothing uses it until a policy says:\n")
    print(patch(arguments.output.name, named, found.wanted.at_least if found.wanted else None))
    return 0


def _measure(arguments: argparse.Namespace) -> int:
    made, prompts = _router(arguments.router), _prompts(arguments)
    found = _worth(prompts, scored(made, prompts.texts), arguments)
    print(msgspec.json.encode(found).decode() if arguments.json else "\n".join(told(found)))
    return 0


def _score(arguments: argparse.Namespace) -> int:
    text = sys.stdin.buffer.read().decode("utf-8", "replace") if arguments.text == "-" else arguments.text
    print(f"{_router(arguments.router).score(text):.6f}")
    return 0


def _prompts(arguments: argparse.Namespace) -> Prompts:
    pairs = recorded(arguments.pairs, arguments.weak, arguments.strong) if arguments.pairs else None
    return gather(arguments.rows, Columns(arguments.text, arguments.label, arguments.weak, arguments.strong, pairs))


def _router(path: Path) -> Scorer:
    try:
        return scorer(read_router(read_file(path, MAX_BYTES)))
    except ValueError as error:
        raise RowsError(f"{path} {error}") from None


def _worth(prompts: Prompts, scores: Numbers, arguments: argparse.Namespace) -> Worth:
    try:
        return worth(prompts, scores, arguments.share, arguments.costs, arguments.seed)
    except ValueError as error:
        raise RowsError(str(error)) from None


def _reported(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command, with its refusals told and turned into an exit status."""

    def reported(arguments: argparse.Namespace) -> int:
        said = f"penstock router {arguments.router_command}: "
        if "label" in arguments and bool(arguments.label) == bool(arguments.weak and arguments.strong):
            print(said + "say which column is the --label, or which are the qualities, --weak and --strong", file=sys.stderr)
            return 2
        try:
            return run(arguments)
        except RowsError as error:
            print(f"{said}{error}", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"{said}{error.filename}: {error.strerror or error}", file=sys.stderr)
            return 2

    return reported


def _share(text: str) -> float:
    try:
        found = read_share(text)
    except UnreadableError as error:
        raise argparse.ArgumentTypeError(error.message) from None
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError("a share of all or none needs no router")
    return found


def _costs(text: str) -> tuple[float, float]:
    try:
        weak, strong = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers, such as 1,40") from None
    if not 0 <= weak < strong:
        raise argparse.ArgumentTypeError("the strong answer costs more than the weak one, and that no less than 0")
    return weak, strong


def _characters(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_CHARACTERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_CHARACTERS}")
    return int(text)
