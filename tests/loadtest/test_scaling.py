"""Workers beside one another."""

import json
import os
import shutil
from pathlib import Path

import pytest

from loadtest import scaling
from loadtest.scaling import Turn

ONE = Turn(workers=1, per_second=10_000, cpu_us=60.0, rest_us=20.0, busiest=1.0, errors=0)
TWO = Turn(workers=2, per_second=15_000, cpu_us=62.0, rest_us=20.0, busiest=0.55, errors=0)


@pytest.mark.parametrize(("cores", "times"), [(2, 1.5), (8, 2.0), (1, 1.0)])
def test_what_is_possible_is_bounded_by_cores_and_by_workers(cores: int, times: float) -> None:
    """Of 80 µs a request 60 are the workers': two cores can do 1.5 times what one worker does on its own."""
    assert times == scaling.possible(ONE, 2, cores)


def test_the_table_compares_within_a_round() -> None:
    """A slow round slows both."""
    slow = [Turn(1, 5_000, 60.0, 20.0, 1.0, 0), Turn(2, 7_500, 62.0, 20.0, 0.75, 0)]
    lines = scaling.table([ONE, TWO, *slow], 2).splitlines()
    assert ["1", "7500", "5000..10000", "1.00", "1.00", "60.0", "20.0", "100%", "0"] == lines[1].split()
    assert ["2", "11250", "7500..15000", "1.50", "1.50", "62.0", "20.0", "65%", "0"] == lines[2].split()


@pytest.mark.slow
def test_a_short_run_has_both_and_no_errors(tmp_path: Path) -> None:
    """Two workers take part in the work."""
    if shutil.which("wrk") is None or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs wrk and two cores")
    output = tmp_path / "scaling.json"
    assert 0 == scaling.main(["--seconds", "1", "--rounds", "1", "--output", str(output)])
    turns = json.loads(output.read_text())["turns"]
    assert [(1, 0), (2, 0)] == [(turn["workers"], turn["errors"]) for turn in turns]
    assert turns[1]["busiest"] < 0.95
