"""What was measured, round by round, and how it is summed up, printed and kept."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Goal:
    """What a program's rows of plain traffic are held to: its CPU at most so many times the plain proxies'."""

    program: str
    to_envoy: float
    to_nginx: float


# issue 3. Its production route samples the access log, so the row that tells of every request is held to nothing.
GOALS = (
    Goal("penstock key", 0.9, 4.0),
    Goal("penstock jwt", 0.9, 4.0),
    Goal("penstock bare", 0.5, 2.5),
)
LATENCY_GOAL = 1.5  # times nginx's, p50 and p99


@dataclass(frozen=True, slots=True)
class Sample:
    """One program in one round. `cpu_us` is user + system time per answered request; `busy` the share of a core it used.

    `kernel_us` is the system time in it: system calls, and all that TCP does in them.
    """

    cpu_us: float
    per_second: float
    busy: float
    errors: int
    rss_mb: float
    kernel_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a program under one kind of traffic, with its rounds in order."""

    name: str
    traffic: str
    does: str
    samples: tuple[Sample, ...]
    beside: str  # the traffic of the plain proxies it is compared with

    @property
    def cpu_us(self) -> float:
        """The median of the rounds."""
        return median(sample.cpu_us for sample in self.samples)

    @property
    def kernel_us(self) -> float:
        """The same of the system time in it."""
        return median(sample.kernel_us for sample in self.samples)

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

    def row(self, name: str, traffic: str) -> Row | None:
        """The row of a program under this traffic, if it was measured."""
        return next((row for row in self.rows if row.name == name and row.traffic == traffic), None)


def ratio(row: Row, to: Row | None) -> float | None:
    """The median over the rounds of this row's CPU over the other's in the *same* round: what slows both cancels out."""
    if to is None:
        return None
    return median(mine.cpu_us / other.cpu_us for mine, other in zip(row.samples, to.samples, strict=True))


def row_ratio(report: Report, row: Row, program: str) -> float | None:
    """The row's ratio to a plain proxy with bodies of the same size."""
    return ratio(row, report.row(program, row.beside))


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
    figures = ("CPU µs/req", "min..max", "kernel", "× envoy", "× nginx", "req/s", "busy", "errors", "RSS MB")
    lines: list[tuple[str, ...]] = [("program", "traffic", *figures, "does")]
    for row in report.rows:
        costs = [sample.cpu_us for sample in row.samples]
        lines.append(
            (
                row.name,
                row.traffic,
                f"{row.cpu_us:.1f}",
                f"{min(costs):.1f}..{max(costs):.1f}",
                f"{row.kernel_us:.1f}",
                _text(row_ratio(report, row, "envoy")),
                _text(row_ratio(report, row, "nginx")),
                f"{median(sample.per_second for sample in row.samples):.0f}",
                f"{median(sample.busy for sample in row.samples):.0%}",
                str(row.errors),
                f"{median(sample.rss_mb for sample in row.samples):.0f}",
                row.does,
            )
        )
    return columns(lines)


def latency_table(latencies: Sequence[dict[str, object]]) -> str:
    """Open-loop latencies in microseconds; – where the generator was late and the figures would be its own."""
    names = ("program", "rate", "p50", "p90", "p99", "p99.9", "added p50", "added p99", "p50 × nginx", "p99 × nginx", "errors")
    figures = (*names[1:], "late p99")
    cells = [(str(entry["program"]), *(_figure(name, entry[name]) for name in figures)) for entry in latencies]
    return columns([(*names, "late p99 (of the generator)"), *cells])


def _figure(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{value:.2f}" if "×" in name else f"{value:.0f}"


def verdicts(report: Report) -> list[str]:
    """For each goal whether it is reached, a line for each body size; with latencies, the same for those."""
    lines = []
    for goal in GOALS:
        for row in report.rows:
            if row.name == goal.program and row.traffic == row.beside:
                envoy, nginx = row_ratio(report, row, "envoy"), row_ratio(report, row, "nginx")
                lines.append(
                    f"goal: {row.name} {row.traffic} ≤ {goal.to_envoy} × Envoy: {_reached(envoy, goal.to_envoy)}, "
                    f"≤ {goal.to_nginx} × nginx: {_reached(nginx, goal.to_nginx)}"
                )
    for entry in report.latencies:
        if str(entry["program"]).startswith("penstock"):
            found = (f"{each} {_reached(entry[f'{each} × nginx'], LATENCY_GOAL)}" for each in ("p50", "p99"))
            lines.append(f"goal: {entry['program']} at {entry['rate']}/s ≤ {LATENCY_GOAL} × nginx's latency: {', '.join(found)}")
    return lines


def _reached(found: object, goal: float) -> str:
    if not isinstance(found, float):
        return "not measured"
    return f"{'reached' if found <= goal else 'missed'} ({found:.2f})"


def save(report: Report, path: Path) -> None:
    """The run as JSON, with every round."""
    summary = [
        {
            "program": row.name,
            "traffic": row.traffic,
            "cpu_us": row.cpu_us,
            "kernel_us": row.kernel_us,
            "lowest": min(sample.cpu_us for sample in row.samples),
            "highest": max(sample.cpu_us for sample in row.samples),
            "to_envoy": row_ratio(report, row, "envoy"),
            "to_nginx": row_ratio(report, row, "nginx"),
        }
        for row in report.rows
    ]
    keep({"summary": summary, **asdict(report)}, path)


def keep(found: Mapping[str, object], path: Path) -> None:
    """Write what was found as JSON, beside the machine and the time it was found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), **found}
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
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _text(found: float | None) -> str:
    return "–" if found is None else f"{found:.2f}"
