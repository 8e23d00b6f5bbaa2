"""Starting, watching and ending the programs under test."""

import os
import sys
from pathlib import Path

import pytest

from loadtest import processes
from loadtest.processes import StartError, Stat


def started(tmp_path: Path, code: str) -> processes.Running:
    """A Python program, pinned as the program under test is."""
    return processes.start("program", [sys.executable, "-c", code], {processes.cores().subject}, tmp_path / "log")


def test_stat_fields_are_counted_after_a_name_with_brackets_and_spaces() -> None:
    """A command name that holds spaces and brackets does not shift the fields."""
    line = "42 (a) odd (name) S 7 42 42 0 -1 0 0 0 0 0 11 22 3 4 20 0 1 0 100 5000 250 0"
    assert Stat(parent=7, ticks=40, kernel_ticks=26, resident_pages=250) == processes.parse_stat(line)


def test_the_tree_holds_children_and_ends_with_them(tmp_path: Path) -> None:
    """CPU and memory count a program's children, and its own end is seen as an empty tree."""
    code = "import subprocess; child = subprocess.Popen(['sleep', '60']); print('up', flush=True); child.wait()"
    running = started(tmp_path, code)
    running.wait_ready(lambda: "up" in running.log_tail())
    members = processes.tree(running.pid)
    for pid in members.keys() - {running.pid}:
        os.kill(pid, 15)
    running.stop()
    assert len(members) == 2
    assert processes.tree(running.pid) == {}


def test_a_program_is_pinned_and_its_cpu_time_is_seen(tmp_path: Path) -> None:
    """A started program has one core, and the caller keeps its own."""
    before = os.sched_getaffinity(0)
    running = started(tmp_path, "print('up', flush=True)\nwhile True: pass")
    running.wait_ready(lambda: "up" in running.log_tail() and running.cpu_seconds() > 0)
    pinned, memory = os.sched_getaffinity(running.pid), running.rss_bytes()
    running.stop()
    assert {processes.cores().subject} == pinned
    assert before == os.sched_getaffinity(0)
    assert memory > 1_000_000


def test_a_program_that_exits_is_reported_with_what_it_said(tmp_path: Path) -> None:
    """Waiting for a program that exits raises with the end of its log."""
    running = started(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(StartError, match="program exited with 1:\nthe port is taken"):
        running.wait_ready(lambda: False)


def test_a_program_that_is_never_ready_is_reported(tmp_path: Path) -> None:
    """Waiting ends after the given time."""
    running = started(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(StartError, match=r"not ready after 0\.05 s"):
        running.wait_ready(lambda: False, seconds=0.05)
    running.stop()


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """Stopping always ends the process, by its pid."""
    running = started(tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)")
    running.wait_ready(lambda: "up" in running.log_tail())
    running.stop(grace=0.1)
    assert running.process.returncode == -9


def test_a_missing_program_is_a_start_error(tmp_path: Path) -> None:
    """A command that does not exist is reported, not a traceback."""
    with pytest.raises(StartError, match="nothing"):
        processes.start("nothing", ["/nonexistent/nothing"], {processes.cores().subject}, tmp_path / "log")
