"""What the cache's measurement makes of its rounds."""

import json
import shutil
from pathlib import Path

import pytest

from loadtest import cache
from loadtest.cache import Goal, Verdict
from loadtest.results import Row, Sample


def row(name: str, traffic: str, *costs: float) -> Row:
    """A row whose rounds took so many microseconds a request."""
    return Row(name, traffic, "", tuple(Sample(cost, 1000.0, 1.0, 0, 50.0, cost / 2) for cost in costs), "")


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which everything was slow says nothing about either."""
    verdicts = cache.judged([row("hit", "1k", 30.0, 60.0, 30.0), row("gate", "1k", 20.0, 40.0, 21.0)])
    assert [(("hit", "1k"), ("gate", "1k"), 1.5)] == [(each.goal.row, each.goal.beside, each.ratio) for each in verdicts]


def test_unique_traffic_is_looked_up_a_window_at_a_time() -> None:
    """4 096 questions, then none for 10 s, 1 024, none for 20 s, and so on."""
    assert 1.0 == cache.looked_up(4.096, 1000)
    assert 4096 / 14_096 == pytest.approx(cache.looked_up(14.096, 1000))
    assert (4096 + 1024) / 35_120 == pytest.approx(cache.looked_up(35.12, 1000))
    assert 0.002 < cache.looked_up(3600, 1000) < 0.005


def test_an_hour_of_unique_traffic_is_mostly_that_of_a_cache_that_is_off() -> None:
    """Between what it costs turned off and what it costs looked up, by how many are looked up."""
    rows = [row("miss", "unique", 180.0), row("turned off", "unique", 102.0), row("no cache", "unique", 100.0)]
    hour = cache.judged(rows)[-1]
    assert hour.goal.most == 1.05
    assert 1.02 + cache.looked_up(3600, 1000) * 0.78 == pytest.approx(hour.ratio)


def test_a_row_that_was_not_measured_is_judged_by_nobody() -> None:
    """It is left out, not taken for reached."""
    assert [] == cache.judged([row("hit", "1k", 30.0)])


def test_a_verdict_says_its_bar_where_there_is_one() -> None:
    """Reached, missed, or only told."""
    hit, gate = ("hit", "1k"), ("gate", "1k")
    assert "hit 1k / gate 1k: 1.25 (at most 1.3: reached)" == str(Verdict(Goal(hit, gate, 1.3), 1.25))
    assert "hit 1k / gate 1k: 1.35 (at most 1.3: missed)" == str(Verdict(Goal(hit, gate, 1.3), 1.35))
    assert "hit 1k / gate 1k: 1.35" == str(Verdict(Goal(hit, gate), 1.35))


def test_what_a_gateway_counted_is_summed_over_its_models() -> None:
    """By result, from its metrics."""
    text = """# TYPE penstock_cache_requests_total counter
penstock_cache_requests_total{model="a",result="hit"} 3
penstock_cache_requests_total{model="b",result="hit"} 4
penstock_cache_requests_total{model="b",result="off"} 1
penstock_cache_bytes 9
"""
    assert {"hit": 7, "off": 1} == cache.counts(text)


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--rounds", "0"], ["--only", "peers"], ["--only", "gate", "miss"]])
def test_settings_out_of_range_are_refused(wrong: list[str]) -> None:
    """Exit status 2, as for every command used wrongly."""
    with pytest.raises(SystemExit) as stopped:
        cache.main(wrong)
    assert 2 == stopped.value.code


@pytest.mark.slow
def test_a_short_run_asks_what_its_rows_say(tmp_path: Path) -> None:
    """Nobody asked the same twice where that was said; the figures themselves are nobody's bar here."""
    if shutil.which("wrk") is None or shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("needs wrk and nginx")
    output = tmp_path / "cache.json"
    assert 0 == cache.main(["--seconds", "1", "--rounds", "1", "--only", "miss", "--output", str(output)])
    kept = json.loads(output.read_text())
    assert [("miss", 0)] == [(each["name"], each["samples"][0]["errors"]) for each in kept["rows"]]
    assert kept["counted"]["always"].get("hit", 0) < 10 < 100 < kept["counted"]["always"]["miss"]
    assert {"off"}.isdisjoint(kept["counted"]["always"])
