"""`penstock calibrate`: thresholds for a cascade with a guarantee, from rows with known answers, as a patch for the policy."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.calibrate.page import page
from gateway.calibrate.patch import PatchError
from gateway.calibrate.plan import Plan, plan, sentences
from gateway.calibrate.reading import RowsError
from gateway.calibrate.report import Chosen, Report, facts, headline, report, table
from gateway.calibrate.rows import Rows, gather, named
from gateway.calibrate.stages import Policy, Stages, WantedError, chosen, of_policy, prices
from gateway.calibrate.written import Wish, Written, written
from gateway.cli.columns import columns
from gateway.cli.ink import Ink
from gateway.cli.progress import SILENCE, Progress
from gateway.cli.source import read
from gateway.configuration.problems import PolicyError, UnreadableError
from gateway.configuration.quantities import read_share
from gateway.review.words import counted
from routing.cascade.certify import LEAST, Certified, Promise, calibrate

_PROGRAM = "penstock calibrate"
BOUNDS = 12  # candidates of which a bound of the quality is drawn
_ABOUT = "thresholds for a cascade that keep a stated share of the dearest model's quality, as a patch for the policy"
_EXAMPLE = """examples:
  penstock calibrate rows.csv --policy config/policy.yaml --model digits
  penstock calibrate rows.csv --policy config/policy.yaml --model digits --html report.html --patched new.yaml
  penstock calibrate answers.csv.gz --stages s0,s3 --prices prices.csv --keep 99%
  penstock calibrate pairs*.jsonl* --policy config/policy.yaml --model digits     # what shadows have recorded
  penstock calibrate --plan --keep 99.5%                                         # how many rows are needed

rows: CSV, JSON lines (both packed by gzip or not) or Parquet; columns <variant>_label, <variant>_confidence of every stage, and
`truth` or <variant>_correct; without these the dearest model's answer is taken for the truth. Confidences are the policy's own
metric, as the variant gave it, with all digits.

Nothing is changed by itself: look at the patch, try it (penstock policy diff, backtest), then put it in.

exit status: 0 certified, 1 nothing could be certified (the report says why), 2 used wrongly, or a file could not be used
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `calibrate` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("calibrate", help=_ABOUT, description=_ABOUT, epilog=_EXAMPLE, formatter_class=raw)
    parser.add_argument("rows", nargs="*", type=Path, metavar="ROWS", help="files of rows, or of recorded pairs")
    wish = parser.add_argument_group("the promise")
    wish.add_argument("--keep", type=_share, default=0.99, metavar="SHARE", help="of the dearest model's quality (default: 99%%)")
    wish.add_argument("--confidence", type=_share, default=0.95, metavar="SHARE", help="that it is kept (default: 95%%)")
    anytime = "the first N rows fit, the others are read in their order: again after each new one, if you like; needs more rows"
    wish.add_argument("--anytime", type=_count, metavar="N", help=anytime)
    wish.add_argument("--seed", type=int, default=0, metavar="N", help="of the split into rows that fit and rows that certify")
    wish.add_argument("--plan", action="store_true", help="only say how many rows are needed")
    whose = parser.add_argument_group("the cascade")
    whose.add_argument("--policy", metavar="FILE", help="the policy document that has the route and the costs; - is stdin")
    whose.add_argument(
        "--model", metavar="MODEL", help="in it, and in recorded pairs; may be left out where there is only one with a cascade"
    )
    whose.add_argument("--route", metavar="ROUTE", help="of the model (default: the one with a cascade, else the last)")
    whose.add_argument("--stages", metavar="A,B[,C]", help="cheapest first (default: those of the route's cascade)")
    whose.add_argument("--column", action="append", default=[], metavar="STAGE=NAME", help="its columns begin with NAME_")
    whose.add_argument("--prices", type=Path, metavar="FILE", help="what a row costs: CSV with name,price, a line of names first")
    whose.add_argument(
        "--output", metavar="NAME", help="the output that tells how sure an answer is, if the route says nothing yet"
    )
    whose.add_argument("--metric", default="max-softmax", metavar="METRIC", help="of it, likewise (default: %(default)s)")
    whose.add_argument("--logits", action="store_true", help="the output holds logits, of whose softmax the metric is; likewise")
    whose.add_argument(
        "--label-output", metavar="NAME", help="the output that holds the label, where it is not the largest's place"
    )
    out = parser.add_argument_group("what is written")
    out.add_argument("--json", action="store_true", help="print JSON")
    out.add_argument("--html", type=Path, metavar="FILE", help="a page with plots, one file")
    out.add_argument("--patch", type=Path, metavar="FILE", help="the part of the policy that changes, else it is printed")
    out.add_argument("--patched", type=Path, metavar="FILE", help="the whole policy with it, comments and all; another file")
    parser.set_defaults(run=_run)


def _share(text: str) -> float:
    try:
        found = float(text) if "%" not in text else read_share(text)
    except UnreadableError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share; write 99% or 0.99") from None
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} lies not between 0 and 1; write 99% or 0.99")
    return found


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < LEAST:
        raise argparse.ArgumentTypeError(f"{text!r}: say how many rows fit, {LEAST} at least")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    try:
        return _plan(arguments) if arguments.plan else _calibrated(arguments)
    except PolicyError as error:
        print(f"{error}\nthe policy cannot be used", file=sys.stderr)
    except (RowsError, WantedError, PatchError, ValueError) as error:  # ValueError: of a promise, or of too few rows
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{_PROGRAM}: {error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def _plan(arguments: argparse.Namespace) -> int:
    rows = _gathered(arguments)[0] if arguments.rows else None
    found: Plan = plan(Promise(arguments.keep, 1 - arguments.confidence), rows)
    print(msgspec.json.encode(found).decode() if arguments.json else "\n".join(sentences(found)))
    return 0


def _calibrated(arguments: argparse.Namespace) -> int:
    if not arguments.rows:
        raise WantedError("name files of rows; --plan alone says how many rows are needed, --help what stands in them")
    if arguments.patched is not None and arguments.policy is None:
        raise WantedError("--patched writes the policy with its new thresholds: give --policy, too")
    if (
        arguments.patched is not None
        and arguments.policy != "-"
        and arguments.patched.resolve() == Path(arguments.policy).resolve()
    ):
        raise WantedError("--patched is the policy itself: write another file, look at it, and put it in its place yourself")
    rows, stages, policy = _gathered(arguments)
    promise = Promise(arguments.keep, 1 - arguments.confidence)
    found = _certified(rows, stages, promise, arguments)
    how = Chosen(tuple(map(str, arguments.rows)), arguments.seed, arguments.anytime)
    told = report(found, rows, stages, how, _bound(found, arguments.html is not None))
    made, wrong = None, None
    if policy is not None and found.chosen is not None:
        needed = bool(arguments.patch or arguments.patched)
        wish = Wish(arguments.output, arguments.metric, arguments.label_output, needed, arguments.logits)
        try:
            made = written(policy, told, found, wish)
        except PatchError as error:  # whatever is in the way of a patch, the report has taken its time
            wrong = error
    _say(arguments, told, made)
    sys.stdout.flush()  # before stderr says what was written
    _write(arguments, told, made)
    if wrong is not None:
        raise wrong
    return 0 if found.chosen is not None else 1


def _gathered(arguments: argparse.Namespace) -> tuple[Rows, Stages, Policy | None]:
    _once([str(path.resolve()) for path in arguments.rows], "a row that is there again is no further proof")
    policy = None
    if arguments.policy is not None:
        policy = of_policy(read(arguments.policy), arguments.policy, arguments.model, arguments.route)
    aliases = dict(map(_alias, arguments.column))
    cost = {**(policy.cost if policy is not None else {}), **(prices(arguments.prices) if arguments.prices is not None else {})}
    wanted = [word.strip() for word in (arguments.stages or "").split(",") if word.strip()]
    _once(wanted, "each stage is asked once")
    cascade = [stage["use"] for stage in policy.cascade["stages"]] if policy is not None and policy.cascade is not None else []
    stages = chosen(named(arguments.rows), wanted, (aliases, cost), cascade)
    progress = Progress(_PROGRAM)
    model = policy.where.model if policy is not None else arguments.model or ""
    rows = gather(arguments.rows, stages.columns, lambda count: progress.tell(f"{counted(count, 'row')} read"), model)
    return rows, stages, policy


def _once(names: Sequence[str], why: str) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise WantedError(f"{twice} is named twice: {why}")


def _alias(text: str) -> tuple[str, str]:
    stage, equals, begin = text.partition("=")
    if not stage or not equals or not begin:
        raise WantedError(f"--column {text}: write STAGE=NAME, for columns NAME_label and NAME_confidence")
    return stage, begin


def _certified(rows: Rows, stages: Stages, promise: Promise, arguments: argparse.Namespace) -> Certified:
    """With a word to people who wait."""
    said = f"{_PROGRAM}: certifying on {counted(len(rows.right), 'row')} …"
    waiting = threading.Timer(SILENCE, lambda: print(said, file=sys.stderr))
    waiting.daemon = True
    waiting.start()
    try:
        return calibrate(rows.at(list(stages.cost.values())), promise, arguments.seed, arguments.anytime)
    finally:
        waiting.cancel()


def _bound(found: Certified, drawn: bool) -> Callable[[int], bool]:
    """Of which candidates the page shows a bound: some at even distances, for each may take a second."""
    progress, step = Progress(_PROGRAM), -(-len(found.curve) // BOUNDS) or 1

    def wanted(place: int) -> bool:
        progress.tell(f"drawing candidate {place + 1} of {len(found.curve)}")
        return drawn and place % step == 0

    return wanted


def _write(arguments: argparse.Namespace, told: Report, made: Written | None) -> None:
    if arguments.html is not None:
        _to(arguments.html, page(told).encode())
    if made is not None and arguments.patch is not None:
        _to(arguments.patch, made.patch.encode())
    if made is not None and arguments.patched is not None:
        _to(arguments.patched, made.policy)
    if made is not None and made.problems:
        print("\n".join((*made.problems, "the policy is refused with the patch until that is mended, too")), file=sys.stderr)


def _to(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    print(f"written: {path}", file=sys.stderr)


def _say(arguments: argparse.Namespace, told: Report, made: Written | None) -> None:
    if arguments.json:
        content: dict[str, Any] = msgspec.to_builtins(told)
        print(msgspec.json.encode({**content, "patch": None if made is None else made.patch}).decode())
        return
    print("\n".join(_lines(told, Ink(sys.stdout))))
    if made is not None and arguments.patch is None and arguments.patched is None:
        print(f"\n{made.patch}", end="")
    if told.certified is not None and arguments.policy is None:
        print("\nfor a patch give --policy, the document whose route these thresholds are for")


def _lines(told: Report, ink: Ink) -> Iterator[str]:
    point = told.certified
    yield f"{ink.good('CERTIFIED') if point is not None else ink.bad('NOTHING CERTIFIED')}  {headline(told)}"
    yield from (f"{name:<12}{text}" for name, text in facts(told))
    yield from (f"{'note':<12}{note}" for note in told.notes)
    yield ""
    head, rows = table(told)
    yield from columns([head, *rows], numbers=True)
