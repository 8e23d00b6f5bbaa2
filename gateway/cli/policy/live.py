"""The `--live` of `penstock policy check`: what the policy's backends say to it, as problems at the lines that they concern."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from gateway.compile import cluster, drawn
from gateway.configuration.decode import Findings
from gateway.configuration.problems import PolicyError, Problem, UnreadableError
from gateway.configuration.readers import read_timeout
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.yaml_source import parse
from gateway.review.live.ask import ask
from gateway.review.live.misfits import judge
from gateway.review.live.served import Heard

SECONDS = 5.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--live` and `--timeout`."""
    parser.add_argument("--live", action="store_true", help="also ask the backends whether they have what the policy names")
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=_duration,
        default=SECONDS,
        help="for all of the asking, such as 500ms; 5s if not given",
    )


def look(document: PolicyDocument, text: bytes, name: str, seconds: float) -> tuple[Problem, ...]:
    """What does not fit between a usable policy and its backends, in the order of the lines; `text` and `name` are the file's."""
    compiled = drawn(document, text, name, Path(name).parent)
    clusters = {spec.name: cluster(spec, lambda *_: None) for spec in compiled.clusters}

    async def asked() -> tuple[Heard, ...]:
        return await ask(document, clusters, seconds, _waiting)

    heard = uvloop.run(asked())
    found = Findings(parse(text, name))
    try:
        judge(found, document, heard)
    except PolicyError as error:  # more than anybody reads
        return error.problems
    return PolicyError(name, found.problems).problems


def _waiting(addresses: Sequence[str]) -> None:
    print(f"still waiting for {', '.join(addresses[:4])}{' and others' if len(addresses) > 4 else ''} …", file=sys.stderr)


def _duration(text: str) -> float:
    try:
        return read_timeout(text)
    except UnreadableError as error:
        raise argparse.ArgumentTypeError(error.message) from None
