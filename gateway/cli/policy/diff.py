"""`penstock policy diff`: what changes between two policies, in words, and for recorded requests in numbers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.ink import Ink
from gateway.cli.policy.traffic import Loaded, loaded, recorded
from gateway.configuration.problems import PolicyError
from gateway.review.changes import changes
from gateway.review.changes_routes import Change
from gateway.review.traffic.caveats import about_log, about_replay, tally_text
from gateway.review.traffic.log import LogError, Tally
from gateway.review.traffic.moves import KINDS, Moves, Part, tenants
from gateway.review.words import counted, share

MOST = 10  # tiers, tenants or models that are told one by one
WAYS = 5  # in which one of them is treated otherwise
_EXAMPLE = """examples:
  penstock policy diff config/policy.yaml new.yaml
  penstock policy diff config/policy.yaml new.yaml --log samples*.jsonl*   # and what it does to recorded requests

exit status: 0 no difference, 1 they differ, 2 a file could not be read or a policy cannot be used
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `diff`."""
    about = "say what changes between two policies, and for whom"
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser("diff", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    parser.add_argument("old", metavar="OLD", help="a policy document; - is stdin")
    parser.add_argument("new", metavar="NEW", help="another; - is stdin")
    log = "recorded samples (telemetry.samples in gateway.yaml), packed by gzip or not"
    parser.add_argument("--log", metavar="FILE", nargs="+", type=Path, default=[], help=log)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_diff)


@dataclass(frozen=True, slots=True)
class _Traffic:
    """What the log showed."""

    tally: Tally
    files: int
    whole: Part
    parts: tuple[Part, ...]
    notes: tuple[str, ...]


def run_diff(arguments: argparse.Namespace) -> int:
    """Prints the differences. 0: there is none; 1: there are some; 2: something could not be read."""
    try:
        old, new = loaded(arguments.old), loaded(arguments.new)
        found = changes(old.document, new.document)
        traffic = _traffic(old, new, arguments.log) if arguments.log else None
    except PolicyError as error:
        print(f"{error}\nthat policy cannot be used", file=sys.stderr)
        return 2
    except (OSError, LogError) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        print(f"penstock policy diff: {said}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(_as_json(old, new, found, traffic)))
    else:
        print("\n".join(_report(old, new, found, traffic)))
    return 1 if found or (traffic is not None and traffic.whole.moved) else 0


def _traffic(old: Loaded, new: Loaded, log: list[Path]) -> _Traffic:
    before, after, tally = old.treatment(), new.treatment(), Tally()
    moves = Moves(before, after, tenants(old.tables) | tenants(new.tables))
    for sample in recorded(log, tally, "penstock policy diff"):
        moves.take(sample)
    notes = (*about_log(tally), *about_replay(before.replay, "OLD"), *about_replay(after.replay, "NEW"))
    return _Traffic(tally, len(log), moves.whole(), tuple(moves.parts()), notes)


def _report(old: Loaded, new: Loaded, found: tuple[Change, ...], traffic: _Traffic | None) -> Iterator[str]:
    ink = Ink(sys.stdout)
    if not found:
        differ = "" if old.version == new.version else f"; they are only written differently ({old.version}, {new.version})"
        yield f"no difference{differ}"
    else:
        yield ink.strong(f"{old.name} {old.version} → {new.name} {new.version}: {counted(len(found), 'change')}")
        path = ""
        for change in found:
            if change.path != path:
                path = change.path
                yield f"  {path}"
            yield f"    {change.text}"
    if traffic is not None:
        yield ""
        yield from _moved(traffic, ink)


def _moved(traffic: _Traffic, ink: Ink) -> Iterator[str]:
    whole = traffic.whole
    yield ink.strong(tally_text(traffic.tally, whole.requests, traffic.files))
    if not whole.moved:
        yield "  nothing changes for any of them"
    yield from _ways(whole, "", ink)
    if whole.moved:
        for kind in KINDS:
            parts = [part for part in traffic.parts if part.kind == kind]
            if len(parts) > 1:
                yield ""
                yield from _parts(kind, parts, ink)
    for note in traffic.notes:
        yield f"note: {note}"


def _parts(kind: str, parts: list[Part], ink: Ink) -> Iterator[str]:
    moved = [part for part in parts if part.moved]
    width = max((len(part.name) for part in moved[:MOST]), default=0) + 1
    for part in moved[:MOST]:
        yield from _ways(part, f"{kind} {f'{part.name}:'.ljust(width)} ", ink)
    if len(moved) > MOST:
        yield f"  {counted(len(moved) - MOST, kind)} more for which something changes"
    if len(moved) < len(parts):
        yield f"  nothing changes for {counted(len(parts) - len(moved), kind)}"


def _ways(part: Part, whose: str, ink: Ink) -> Iterator[str]:
    for each in part.moved[:WAYS]:
        count = ink.faint(f"({each.requests:,.0f} of {part.requests:,.0f})")
        yield f"  {whose}{share(each.requests / part.requests):>7} of requests {each.what}  {count}"
        whose = " " * len(whose)
    rest = part.moved[WAYS:]
    if rest:
        others = sum(each.requests for each in rest) / part.requests
        yield f"  {whose}{share(others):>7} of requests in {counted(len(rest), 'other way')}"


def _as_json(old: Loaded, new: Loaded, found: tuple[Change, ...], traffic: _Traffic | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "old": {"file": old.name, "version": old.version},
        "new": {"file": new.name, "version": new.version},
        "changes": [change._asdict() for change in found],
    }
    if traffic is not None:
        tally = traffic.tally
        told["traffic"] = {
            "samples": tally.samples,
            "damaged": tally.damaged,
            "dropped": tally.dropped,
            **msgspec.to_builtins(traffic.whole),
            "parts": msgspec.to_builtins(traffic.parts),
            "notes": list(traffic.notes),
        }
    return told
