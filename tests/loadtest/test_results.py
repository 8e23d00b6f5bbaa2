"""Summing up, printing and keeping what was measured."""

import json
from pathlib import Path

from loadtest import results
from loadtest.results import Note, Report, Row, Sample


def row(name: str, *costs: float, errors: int = 0, traffic: str = "1k") -> Row:
    """A row with one round for each cost."""
    samples = tuple(Sample(cost, 1000.0, 0.5, errors, 10.0, cost / 2) for cost in costs)
    return Row(name, traffic, "plain proxy", samples, beside="150k" if traffic == "150k" else "1k")


def report(*rows: Row, notes: tuple[Note, ...] = ()) -> Report:
    """A run with these rows."""
    return Report({"seconds": 1}, notes, rows)


def test_a_ratio_compares_rounds_with_each_other() -> None:
    """A slow round slows both and leaves the ratio alone."""
    assert results.ratio(row("penstock", 20.0, 60.0, 22.0), row("envoy", 10.0, 30.0, 11.0)) == 2.0


def test_a_ratio_to_a_program_that_is_not_there_is_none() -> None:
    """Without Envoy the table has a dash."""
    assert results.ratio(row("nginx", 1.0), None) is None
    assert "–" in results.table(report(row("nginx", 1.0)))


def test_the_table_shows_median_range_and_errors() -> None:
    """One line a program, figures of all rounds."""
    text = results.table(report(row("nginx", 10.0, 12.0, 30.0), row("envoy", 100.0, 120.0, 300.0, errors=1)))
    lines = text.splitlines()
    assert lines[1].split() == [
        "nginx",
        "1k",
        "12.0",
        "10.0..30.0",
        "6.0",
        "0.10",
        "1.00",
        "1000",
        "50%",
        "0",
        "10",
        "plain",
        "proxy",
    ]
    assert lines[2].split()[9] == "3"


def test_ratios_are_taken_to_proxies_with_bodies_of_the_same_size() -> None:
    """What 150 KB cost says nothing beside 1 KB."""
    run = report(row("envoy", 100.0), row("envoy", 200.0, traffic="150k"), row("p", 100.0, traffic="150k"), row("p", 100.0))
    assert [0.5, 1.0] == [results.row_ratio(run, each, "envoy") for each in run.rows[2:]]


def test_verdicts_name_goal_and_ratio() -> None:
    """Reached at the goal and below, missed above, unknown without the other program."""
    said = results.verdicts(report(row("penstock key", 90.0), row("penstock bare", 51.0), row("envoy", 100.0)))
    assert said == [
        "goal: penstock key 1k ≤ 0.9 × Envoy: reached (0.90), ≤ 4.0 × nginx: not measured",
        "goal: penstock bare 1k ≤ 0.5 × Envoy: missed (0.51), ≤ 2.5 × nginx: not measured",
    ]


def test_verdicts_on_latency_are_beside_nginx() -> None:
    """p50 and p99 each; where the generator was late there is no verdict."""
    entry = {"program": "penstock key", "rate": 200, "p50 × nginx": 1.5, "p99 × nginx": None, "errors": 0}
    said = results.verdicts(Report({}, (), (), (entry, {"program": "nginx"})))
    assert said == ["goal: penstock key at 200/s ≤ 1.5 × nginx's latency: p50 reached (1.50), p99 not measured"]


def test_a_run_is_clean_without_errors_and_failures() -> None:
    """A missing tool is no failure; a failed request, a program that broke, or no row at all is."""
    good = row("nginx", 1.0)
    assert report(good, notes=(Note("haproxy is not installed"),)).clean
    assert not report(good, notes=(Note("penstock exited", failure=True),)).clean
    assert not report(good, row("envoy", 1.0, errors=1)).clean
    assert not report().clean
    assert not Report({}, (), (good,), ({"errors": 3},)).clean


def test_a_saved_run_holds_every_round_and_the_machine(tmp_path: Path) -> None:
    """The file says what was measured where, and makes its folder."""
    path = tmp_path / "results" / "run.json"
    results.save(report(row("penstock", 50.0, 60.0), row("envoy", 100.0, 100.0)), path)
    saved = json.loads(path.read_text())
    assert saved["summary"][0]["to_envoy"] == 0.55
    assert [sample["cpu_us"] for sample in saved["rows"][0]["samples"]] == [50.0, 60.0]
    assert {"cpu", "cores", "kernel", "python", "load_average", "date"} == saved["machine"].keys()


def test_the_latency_table_has_a_line_for_each_program_and_rate() -> None:
    """Figures in whole microseconds, ratios with two places, a dash where there is nothing."""
    names = ("rate", "p50", "p90", "p99", "p99.9", "added p50", "p50 × nginx", "errors", "late p99")
    text = results.latency_table([{"program": "nginx", "p99 × nginx": None, "added p99": None, **dict.fromkeys(names, 12.4)}])
    assert ["nginx", "12", "12", "12", "12", "12", "12", "–", "12.40", "–", "12", "12"] == text.splitlines()[1].split()
