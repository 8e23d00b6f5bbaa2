"""What was measured, round by round, and how it is summed up, printed and kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

CPU_GOAL_TO_ENVOY = 1.2


@dataclass(frozen=True, slots=True)
class Sample:
    """One program in one round. `cpu_us` is user + system time per answered request; `busy` the share of a core it used."""

    cpu_us: float
    per_second: float
    busy: float
    errors: int
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a program under one kind of traffic, with its rounds in order."""

    name: str
    traffic: str
    does: str
    samples: tuple[Sample, ...]

    @property
    def cpu_us(self) -> float:
        """The median of the rounds."""
        return median(sample.cpu_us for sample in self.samples)

    @property
    def errors(self) -> int:
        """Of all rounds together."""
        return sum(sample.errors for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader must know beside the figures. A failure is something that should have been measured and could not be."""

    text: str
    failure: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run: its settings, what could not be measured and why, and the rows."""

    settings: dict[str, object]
    notes: tuple[Note, ...]
    rows: tuple[Row, ...]
    latencies: tuple[dict[str, object], ...] = ()

    @property
    def clean(self) -> bool:
        """Whether something was measured, no request failed, and nothing failed but for want of a tool."""
        errors = any(row.errors for row in self.rows) or any(entry["errors"] for entry in self.latencies)
        return bool(self.rows) and not errors and not any(note.failure for note in self.notes)

    def row(self, name: str, traffic: str = "binary") -> Row | None:
        """The row of a program, if it was measured."""
        return next((row for row in self.rows if row.name == name and row.traffic == traffic), None)


def ratio(row: Row, to: Row | None) -> float | None:
    """The median over the rounds of this row's CPU over the other's in the *same* round: what slows both cancels out."""
    if to is None:
        return None
    return median(mine.cpu_us / other.cpu_us for mine, other in zip(row.samples, to.samples, strict=True))


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Text in columns: the first two to the left, figures to the right, the last (prose) to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 1, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def table(report: Report) -> str:
    """The comparison as people read it."""
    nginx, envoy = report.row("nginx"), report.row("envoy")
    lines: list[tuple[str, ...]] = [
        ("program", "traffic", "CPU µs/req", "min..max", "× envoy", "× nginx", "req/s", "busy", "errors", "RSS MB", "does")
    ]
    for row in report.rows:
        costs = [sample.cpu_us for sample in row.samples]
        lines.append(
            (
                row.name,
                row.traffic,
                f"{row.cpu_us:.1f}",
                f"{min(costs):.1f}..{max(costs):.1f}",
                _ratio_text(row, envoy),
                _ratio_text(row, nginx),
                f"{median(sample.per_second for sample in row.samples):.0f}",
                f"{median(sample.busy for sample in row.samples):.0%}",
                str(row.errors),
                f"{median(sample.rss_mb for sample in row.samples):.0f}",
                row.does,
            )
        )
    return columns(lines)


def latency_table(latencies: Sequence[dict[str, object]]) -> str:
    """Open-loop latencies in microseconds, and what each program adds to asking the backend itself."""
    names = ("program", "rate", "achieved", "p50", "p90", "p99", "p99.9", "added p50", "added p99", "errors")
    figures = (*names[1:], "late p99")
    cells = [(str(entry["program"]), *(f"{entry[name]:.0f}" for name in figures)) for entry in latencies]
    return columns([(*names, "late p99 (of the generator)"), *cells])


def verdict(report: Report) -> str:
    """Whether the goal for CPU per request is reached, in one line."""
    penstock, envoy = report.row("penstock"), report.row("envoy")
    if penstock is None or envoy is None:
        return "goal: Penstock against Envoy was not measured in this run"
    reached = ratio(penstock, envoy) or 0.0
    word = "reached" if reached <= CPU_GOAL_TO_ENVOY else "missed"
    return f"goal: full pipeline ≤ {CPU_GOAL_TO_ENVOY} × Envoy's plain proxy: {word} ({reached:.2f} ×)"


def save(report: Report, path: Path) -> None:
    """The run as JSON, with every round and the machine it was made on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = [
        {
            "program": row.name,
            "traffic": row.traffic,
            "cpu_us": row.cpu_us,
            "to_envoy": ratio(row, report.row("envoy")),
            "to_nginx": ratio(row, report.row("nginx")),
        }
        for row in report.rows
    ]
    document = {"machine": machine(), "summary": summary, **asdict(report)}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, object]:
    """What the figures depend on and a reader elsewhere cannot know."""
    cpus = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }


def _ratio_text(row: Row, to: Row | None) -> str:
    found = ratio(row, to)
    return "–" if found is None else f"{found:.2f}"
