"""`penstock experiment`: how long an A/B test has to run, and what a running gateway's have found."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

import msgspec
import numpy as np

from gateway.cli import remote
from gateway.cli.ink import Ink
from gateway.configuration.problems import UnreadableError
from gateway.configuration.quantities import read_share
from gateway.experiment.plan import Plan, Wanted, plan, sentences
from gateway.experiment.report import Report
from gateway.review.words import share

_PLAN = "how many units an A/B test needs, or what so many can show: looked at once, and as often as you like"
_REPORT = "what A/B tests have found: the sides' difference, metric by metric, with an interval that holds whenever you look"
_EXAMPLE = """examples:
  penstock experiment plan --rate 3% --relative 10%                          units for 3 % → 3.3 %
  penstock experiment plan --rate 3% --effect 0.3% --per-day 20000           … and days
  penstock experiment plan --rate 3% --days 14 --per-day 20000               what two weeks can show
  penstock experiment plan --mean 42 --deviation 60 --effect 2 --weight 10%  of a number, a tenth to the candidate
  PENSTOCK_API_KEY=pk_… penstock experiment report digits/accurate

exit status: 0, 1 if the answer is no (nothing of that size can be found, there is no such test), 2 used wrongly, or no gateway
could be asked
"""
_WORDS = {
    "mismatch": "WRONG SHARES",
    "insufficient": "too little is known",
    "more": "MORE",
    "less": "LESS",
    "open": "no difference shown",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `experiment` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    experiment = subparsers.add_parser(
        "experiment", help="plan A/B tests, and what they have found", epilog=_EXAMPLE, formatter_class=raw
    )
    commands = experiment.add_subparsers(dest="experiment_command", required=True, metavar="COMMAND")
    _add_plan(commands.add_parser("plan", help=_PLAN, description=_PLAN, epilog=_EXAMPLE, formatter_class=raw))
    reporting = commands.add_parser("report", help=_REPORT, description=_REPORT, epilog=_EXAMPLE, formatter_class=raw)
    reporting.add_argument("experiment", nargs="?", metavar="MODEL/VARIANT", help="only this one")
    remote.add_arguments(reporting)
    reporting.set_defaults(run=_report)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=_share, metavar="SHARE", help="how often it happens on the stable side: 3%%")
    parser.add_argument("--mean", type=float, metavar="NUMBER", help="of a number instead: the stable side's mean")
    parser.add_argument("--deviation", type=float, metavar="NUMBER", help="and the standard deviation of one unit's number")
    parser.add_argument("--effect", metavar="CHANGE", help="the difference to find: 0.3%% of a rate (points), 2 of a number")
    parser.add_argument(
        "--relative",
        type=_change,
        metavar="SHARE",
        help="the same as a part of the rate or mean: 10%%; --relative=-10%% for less",
    )
    parser.add_argument(
        "--units", type=int, metavar="N", help="instead of an effect: what can so many show, both sides together?"
    )
    parser.add_argument("--days", type=float, metavar="N", help="instead of an effect: what can so many days show?")
    parser.add_argument("--per-day", type=float, metavar="N", help="new units a day (requests, where each is a unit)")
    parser.add_argument("--share", type=_share, default=1.0, metavar="SHARE", help="of them that take part (default: 100%%)")
    parser.add_argument("--weight", type=_share, default=0.5, metavar="SHARE", help="of those, the candidate's (default: 50%%)")
    parser.add_argument("--alpha", type=_share, default=0.05, metavar="SHARE", help="false alarms (default: 5%%)")
    parser.add_argument("--power", type=_share, default=0.8, metavar="SHARE", help="chance to find the effect (default: 80%%)")
    parser.add_argument("--looks", type=int, metavar="N", help="for the price of peeking (default: one a day, else 100)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    try:
        found = plan(_wanted(arguments), np.random.default_rng(1))
    except ValueError as error:
        print(f"penstock experiment plan: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(_jsonable(found)))
    else:
        print("\n".join(sentences(found, Ink(sys.stdout).strong)))
    return 0 if found.possible else 1


def _report(arguments: argparse.Namespace) -> int:
    wanted = "" if arguments.experiment is None else f"/{arguments.experiment}"
    if wanted and arguments.experiment.count("/") != 1:
        print("penstock experiment report: name an experiment as MODEL/VARIANT", file=sys.stderr)
        return 2
    content = remote.asked(arguments, "penstock experiment report", "GET", f"/api/experiments{wanted}")
    if isinstance(content, int):
        return content
    if arguments.json:
        print(json.dumps(content))
        return 0
    found = msgspec.convert([content] if wanted else content["experiments"], list[Report])
    if not found:
        print("no rollout of the policy in force has feedback: docs/experiment.md says how to write it")
    print("\n\n".join("\n".join(_lines(each, Ink(sys.stdout))) for each in found))
    return 0


def _lines(each: Report, ink: Ink) -> Iterator[str]:
    yield (
        ink.strong(f"{each.model}/{each.rollout}") + f"  {each.candidate} at {share(each.weight)}, {each.state or 'not started'}"
    )
    units = "requests, each a unit" if each.unit == "request" else f"units by {each.unit}, each by what is told of it first"
    stable, candidate = each.drawn
    yield f"  {stable:,} and {candidate:,} {units}" + (f", since {each.since}" if each.since else "")
    if each.full:
        yield ink.bad("  no more units are remembered: later ones count on neither side")
    for metric in each.metrics:
        paint = ink.bad if metric.found == "mismatch" else ink.strong if metric.found in ("more", "less") else str
        yield f"  {metric.metric}: {paint(_WORDS[metric.found])}; {metric.text}"
    yield ink.faint(
        f"  each interval holds at all times together with a chance of {share(1 - each.alpha)}: look whenever you like"
    )


def _wanted(arguments: argparse.Namespace) -> Wanted:
    """Raises ValueError for what makes no sense together, or is missing."""
    rate, mean, deviation = arguments.rate, arguments.mean, arguments.deviation
    if (rate is None) == (mean is None):
        raise ValueError("give --rate 3%, or --mean 42 --deviation 60: what is it on the stable side?")
    if (mean is None) != (deviation is None):
        raise ValueError("a --mean needs its --deviation, and a rate has none: penstock experiment plan --help")
    if sum(each is not None for each in (arguments.effect, arguments.relative, arguments.units, arguments.days)) != 1:
        raise ValueError("give one of --effect, --relative (then the units are told), --units, --days (then the effect is)")
    if arguments.days is not None and arguments.per_day is None:
        raise ValueError("how many units are there on each of these days? give --per-day")
    return Wanted(
        rate if rate is not None else mean,
        deviation,
        _effect(arguments.effect, mean is not None, arguments.relative, rate if rate is not None else mean),
        arguments.units if arguments.days is None else int(arguments.days * arguments.per_day * arguments.share),
        None if arguments.per_day is None else arguments.per_day * arguments.share,
        arguments.weight,
        arguments.alpha,
        arguments.power,
        arguments.looks,
    )


def _effect(written: str | None, number: bool, relative: float | None, start: float) -> float | None:
    if relative is not None:
        return relative * start
    if written is None:
        return None
    if number:
        return float(written)
    try:
        return _change(written)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--effect: {error}") from error


def _change(text: str) -> float:
    """A share with a sign; `-` is less."""
    return -_share(text[1:]) if text.startswith("-") else _share(text.removeprefix("+"))


def _share(text: str) -> float:
    try:
        return read_share(text)
    except UnreadableError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _jsonable(found: Plan) -> dict[str, object]:
    return {name: value for name, value in found.told().items() if value is not None}
