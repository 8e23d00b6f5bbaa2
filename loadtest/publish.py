"""Puts recorded runs into the documentation: the plot, and the tables of docs/performance.md, so that nobody copies figures."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest import overload, plot, scaling
from loadtest.plot import Bar, Panel
from loadtest.scaling import Turn

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"
KINDS = ("cache", "compare", "memory", "overload", "scaling", "stages")
Recorded = Mapping[str, Any]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and figures to the right."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *lines))


def cpu(run: Recorded) -> str:
    """CPU for each request, beside Envoy and nginx."""
    lines = [
        (
            f"{row['program']}, {row['traffic']}",
            f"{row['cpu_us']:.1f}",
            f"{row['lowest']:.1f} … {row['highest']:.1f}",
            f"{row['kernel_us']:.1f}",
            _number(row["to_envoy"], 2),
            _number(row["to_nginx"], 2),
        )
        for row in run["summary"]
    ]
    return table(("program, traffic", "CPU µs/request", "least … most", "of it the kernel's", "× Envoy", "× nginx"), lines)


def latency(run: Recorded) -> str:
    """What the open loop found."""
    columns = ("p50", "p99", "added p50", "added p99")
    lines = [
        (
            f"{entry['program']}, {entry['rate']}/s",
            *(_number(entry[column], 0) for column in columns),
            *(_number(entry[f"{column} × nginx"], 2) for column in ("p50", "p99")),
            _number(entry["late p99"], 0),
        )
        for entry in run["latencies"]
    ]
    return table(("program, rate", *(f"{each} µs" for each in columns), "p50 × nginx", "p99 × nginx", "late p99 µs"), lines)


def memory(run: Recorded) -> str:
    """What clients cost in memory."""
    lines = [
        (
            f"{held['program']}, {held['count']} {held['clients']}",
            *(f"{held[column]:.1f}" for column in ("before_mb", "with_mb", "more_mb")),
            str(held.get("cut", 0)),
        )
        for held in run["held"]
    ]
    return table(("program, clients", "RSS before, MB", "with them", "more", "cut off"), lines)


def workers(run: Recorded) -> str:
    """Two workers beside one."""
    return table(scaling.COLUMNS, scaling.lines([Turn(**each) for each in run["turns"]], run["cores"]))


def overloaded(run: Recorded) -> str:
    """What is answered in time when there is too much."""
    return table(overload.COLUMNS, [overload.line(overload.again(each)) for each in run["courses"]])


def cache(run: Recorded) -> str:
    """What a kept answer costs, and one that is not."""
    costs = [(row, [sample["cpu_us"] for sample in row["samples"]]) for row in run["rows"]]
    lines = [
        (f"{row['name']}, {row['traffic']}: {row['does']}", f"{row['cpu_us']:.1f}", f"{min(found):.1f} … {max(found):.1f}")
        for row, found in costs
    ]
    return table(("what is asked", "CPU µs/request", "least … most"), lines)


def ratios(run: Recorded) -> str:
    """The same beside one another, and the goals."""
    lines = [
        (
            f"{', '.join(filter(None, each['goal']['row']))} / {', '.join(each['goal']['beside'])}",
            f"{each['ratio']:.2f}",
            _number(each["goal"]["most"], 2),
        )
        for each in run["ratios"]
    ]
    return table(("CPU beside", "ratio", "goal: at most"), lines)


def stages(run: Recorded) -> str:
    """Where the microseconds inside the process go."""
    lines = [(f"{stage['stage']}: {stage['does']}", f"{stage['us']:.2f}") for stage in run["stages"]]
    return table(("stage", "µs"), lines)


def machine(run: Recorded) -> str:
    """What it was measured on."""
    found = run["machine"]
    return f"{found['date']}, {found['cores']} cores of {found['cpu']}, Linux {found['kernel']}, Python {found['python']}"


def filled(page: str, runs: Mapping[str, Recorded]) -> str:
    """The page with every marked place filled from its run; a place whose run was not recorded stays as it is."""
    makers = {
        "cache": cache,
        "ratios": ratios,
        "cpu": cpu,
        "latency": latency,
        "memory": memory,
        "overload": overloaded,
        "scaling": workers,
        "stages": stages,
        "machine": machine,
    }
    sources = {"ratios": "cache", "cpu": "compare", "latency": "compare", "machine": "compare"}

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        run = runs.get(sources.get(name, name))
        return found[0] if run is None else f"<!-- measured: {name} -->\n{makers[name](run)}\n<!-- end -->"

    return re.sub(r"<!-- measured: (\w+) -->\n.*?<!-- end -->", fill, page, flags=re.DOTALL)


def drawing(run: Recorded) -> str:
    """The plot of one comparison: CPU for each size of body."""
    panels = []
    for size, name in (("1k", "1 KB"), ("150k", "150 KB")):
        rows = [row for row in run["summary"] if row["traffic"] == size]
        bars = tuple(
            Bar(
                row["program"],
                row["cpu_us"],
                row["lowest"],
                row["highest"],
                f"{row['cpu_us']:.0f} µs · {_number(row['to_envoy'], 2)} × Envoy",
                row["program"].startswith("penstock"),
            )
            for row in rows
        )
        if bars:
            panels.append(Panel(f"CPU for each request with a body of {name}: median, least and most of the rounds", bars))
    return plot.svg(panels, machine(run))


def recorded() -> dict[str, Recorded]:
    """The runs that are kept."""
    paths = {kind: RESULTS / f"{kind}.json" for kind in KINDS}
    return {kind: json.loads(path.read_text()) for kind, path in paths.items() if path.exists()}


def main() -> int:
    """0: written; 2: no comparison was recorded (`make bench-long` does it)."""
    runs = recorded()
    if "compare" not in runs:
        print("publish: no loadtest/results/compare.json: run make bench-long", file=sys.stderr)
        return 2
    PLOT.write_text(drawing(runs["compare"]))
    PAGE.write_text(filled(PAGE.read_text(), runs))
    print(f"written: {PLOT.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")
    return 0


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"


if __name__ == "__main__":
    sys.exit(main())
