"""`penstock policy backtest`: what another policy would have done with recorded requests, as a table and a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.columns import columns
from gateway.cli.ink import Ink
from gateway.cli.policy.traffic import Loaded, loaded, recorded
from gateway.configuration.problems import PolicyError
from gateway.review.traffic.backtest import Backtest, Result, Row
from gateway.review.traffic.caveats import about_log, about_replay, tally_text
from gateway.review.traffic.decided import Recorded
from gateway.review.traffic.figures import cost_text, mean_text, p95_text
from gateway.review.traffic.log import LogError, Tally
from gateway.review.traffic.plot import svg
from gateway.review.words import share

MOST = 10  # moves that are told one by one
UNKNOWABLE = (
    "A backtest knows nothing of quality: whether cheaper answers are as good takes rows with known answers.",
    "Times are those recorded: models that get more to do answer later, those that get less sooner.",
    "Nobody fails: requests that failed then count as answered where another policy sends them elsewhere.",
)
_EXAMPLE = """examples:
  penstock policy backtest new.yaml --log samples*.jsonl*
  penstock policy backtest new.yaml --log samples.jsonl --plot backtest.svg
  penstock policy backtest new.yaml --policy config/policy.yaml --log samples.jsonl   # both as they would decide today

exit status: 0 done, 1 the policy cannot be used, 2 a file could not be read or is no log of samples
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `backtest`."""
    about = "say what a policy would have done with recorded requests: routes, cost, time, refusals"
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser("backtest", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    parser.add_argument("new", metavar="NEW", help="the policy document to be tried; - is stdin")
    log = "recorded samples (telemetry.samples in gateway.yaml), packed by gzip or not"
    parser.add_argument("--log", metavar="FILE", nargs="+", type=Path, required=True, help=log)
    parser.add_argument("--policy", metavar="OLD", help="compare with this policy, not with what was recorded")
    parser.add_argument("--plot", metavar="FILE.svg", type=_svg_path, help="also draw it, as SVG")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_backtest)


def _svg_path(text: str) -> Path:
    if not text.endswith(".svg"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .svg, and SVG is what is drawn")
    return Path(text)


def run_backtest(arguments: argparse.Namespace) -> int:
    """Prints what would have been. 0: done; 1: a policy cannot be used; 2: something could not be read or written."""
    tally = Tally()
    try:
        new = loaded(arguments.new)
        old = loaded(arguments.policy) if arguments.policy else None
        result, notes = _result(old, new, arguments.log, tally)
        if arguments.plot:
            foot = [tally_text(tally, result.rows[0].requests, len(arguments.log)), *UNKNOWABLE]
            arguments.plot.write_text(svg(result, _title(old, new), foot), encoding="utf-8")
    except PolicyError as error:
        print(f"{error}\nthe policy cannot be used", file=sys.stderr)
        return 1
    except (OSError, LogError) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        print(f"penstock policy backtest: {said}", file=sys.stderr)
        return 2
    if arguments.json:
        log = {"samples": tally.samples, "damaged": tally.damaged, "dropped": tally.dropped, "files": len(arguments.log)}
        told: dict[str, Any] = {"old": _named(old), "new": _named(new), "log": log, **msgspec.to_builtins(result)}
        print(json.dumps({**told, "notes": [*notes, *UNKNOWABLE]}))
    else:
        print("\n".join(_report(_title(old, new), tally_text(tally, result.rows[0].requests, len(arguments.log)), result, notes)))
    return 0


def _named(policy: Loaded | None) -> dict[str, str] | None:
    return None if policy is None else {"file": policy.name, "version": policy.version}


def _title(old: Loaded | None, new: Loaded) -> str:
    was = "what was recorded" if old is None else f"{old.name} {old.version}"
    return f"{new.name} {new.version} against {was}"


def _result(old: Loaded | None, new: Loaded, log: list[Path], tally: Tally) -> tuple[Result, tuple[str, ...]]:
    before = old.treatment() if old is not None else None
    after = new.treatment()
    test = Backtest(before or Recorded(), after)
    for sample in recorded(log, tally, "penstock policy backtest"):
        test.take(sample)
    result = test.result()
    notes = [*about_log(tally), *(about_replay(before.replay, "OLD") if before else ()), *about_replay(after.replay, "NEW")]
    if result.bounded:
        notes.append(
            f"for {share(result.bounded)} of requests it is not known how far they would go up a cascade: their cost lies "
            "between bounds, and what is expected follows the requests of that cascade of which it is known"
        )
    costs = [variant.cost for model in new.document.models.values() for variant in model.variants.values()]
    if any(cost.gpu_ms or cost.token for cost in costs):
        notes.append("what time and tokens cost is known of what was asked only: NEW's cost is that of its asks and rows alone")
    return result, tuple(notes)


def _report(title: str, read: str, result: Result, notes: tuple[str, ...]) -> Iterator[str]:
    ink = Ink(sys.stdout)
    yield ink.strong(title)
    yield read
    yield ""
    if result.rows[0].samples:
        lines = list(columns(list(_table(result)), numbers=True))
        yield ink.faint(lines[0])
        yield from lines[1:]
        yield ""
        yield from _moves(result, ink)
    for note in notes:
        yield f"note: {note}"
    yield from map(ink.faint, UNKNOWABLE)


def _table(result: Result) -> Iterator[list[str]]:
    yield ["", "requests", "changed", "refused", "", "cost", "", "mean ms", "", "p95 ms", ""]
    yield ["", "", "", "was", "is", "was", "is", "was", "is", "was", "is"]
    one = len({row.model for row in result.rows}) == 2  # "" is everything, which is that one
    for row in result.rows[1:] if one else result.rows:
        old, new = row.old, row.new
        yield [
            f"  {row.tier}" if row.tier else row.model or "everything",
            f"{row.requests:,.0f}",
            share(row.changed / row.requests) if row.requests else "",
            f"{old.refused:,.0f}",
            f"{new.refused:,.0f}",
            cost_text(old.cost),
            cost_text(new.cost) + _by(row),
            mean_text(old.time),
            mean_text(new.time),
            p95_text(old.time),
            p95_text(new.time),
        ]


def _by(row: Row) -> str:
    was, now = row.old.cost.expected, row.new.cost.expected
    if not was or now is None or was == now:
        return ""
    return f" {share((now - was) / was, '+')}"


def _moves(result: Result, ink: Ink) -> Iterator[str]:
    if not result.moves:
        yield "no request changes its route, or who answers it"
        return
    width = max(len(f"{move.requests:,.0f}") for move in result.moves[:MOST])
    for move in result.moves[:MOST]:
        whose = ink.faint(f"  {move.model}" + (f", tier {move.tier}" if move.tier else ""))
        yield f"{move.requests:>{width},.0f} requests  {move.old}  ⇒  {move.new}{whose}"
    rest = result.moves[MOST:]
    if rest:
        yield f"{sum(move.requests for move in rest):,.0f} requests more, in {len(rest)} other ways"
    late = result.rows[0].new.late
    if late:
        yield f"{late:,.0f} answers took longer than the new policy allows"
