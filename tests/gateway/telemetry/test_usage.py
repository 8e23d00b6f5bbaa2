"""What is told of the process itself, checked against what the system says of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gateway.telemetry.usage import Usage


def read(usage: Usage) -> dict[str, float]:
    """Each number by name."""
    lines = [line for family in usage.families() for line in family.lines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.split() for line in lines)}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
def test_open_files_and_memory_are_those_of_the_process() -> None:
    """A file more is one open descriptor more; the memory is a plausible number of bytes."""
    usage = Usage()
    before = read(usage)
    with Path(os.devnull).open():
        during = read(usage)
    assert 1 == during["process_open_fds"] - before["process_open_fds"]
    assert 10e6 < before["process_resident_memory_bytes"] < 10e9


def test_cpu_time_and_start_are_seconds() -> None:
    """CPU time never falls, and the process started in the past."""
    usage = Usage()
    first, second = read(usage), read(usage)
    assert 0 < first["process_cpu_seconds_total"] <= second["process_cpu_seconds_total"]
    assert first["process_start_time_seconds"] <= time.time()


def test_system_without_proc_leaves_out_what_it_cannot_tell(tmp_path: Path) -> None:
    """Elsewhere than on Linux a scrape still works."""
    assert {"process_cpu_seconds_total", "process_start_time_seconds"} == set(read(Usage(tmp_path)))
