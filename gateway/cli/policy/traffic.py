"""Policies and recorded traffic named on a command line, read with progress for people who wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.progress import SILENCE, Progress
from gateway.cli.source import read
from gateway.configuration.load import load_policy, version
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import route_tables
from gateway.review.traffic.decided import ByPolicy
from gateway.review.traffic.log import Tally, read_samples, total_bytes
from gateway.review.words import counted
from gateway.telemetry.sample import Sample
from routing.match import RouteTable


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy document that can be used."""

    name: str
    version: str
    document: PolicyDocument
    tables: Mapping[str, RouteTable]

    def treatment(self) -> ByPolicy:
        """It, as it decides about recorded requests."""
        return ByPolicy(self.tables, self.document.aliases)


def loaded(name: str) -> Loaded:
    """The policy in a file. Raises PolicyError for what it says and OSError for the file itself."""
    text = read(name)
    document = load_policy(text, name)
    return Loaded(name, version(text), document, route_tables(document))


def recorded(paths: list[Path], tally: Tally, command: str, silence: float = SILENCE) -> Iterator[Sample]:
    """The samples; every `silence` seconds a line on stderr says how far that is. Raises LogError and OSError."""
    total, progress = total_bytes(paths), Progress(command, silence)

    def look(at: int) -> None:
        part = f", {100 * at / total:.0f} %" if total and at else ""
        progress.tell(f"{counted(tally.samples, 'sample')}{part}")

    yield from read_samples(paths, tally, look)
