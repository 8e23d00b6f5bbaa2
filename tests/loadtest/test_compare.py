"""Rounds, their order, and what happens to a program that fails."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest import compare, processes
from loadtest.compare import Subject
from loadtest.drivers import Load, WrongAnswerError
from loadtest.peers import Ask
from loadtest.results import Note

BUSY = "while True: pass"


def right() -> None:
    """An answer as it should be."""


def wrong() -> None:
    """An answer as it should not be."""
    raise WrongAnswerError("1k: status 500")


def subject(tmp_path: Path, code: str, load: Load) -> Subject:
    """A program that runs this code, under a load with this outcome."""
    running = processes.start("program", [sys.executable, "-c", code], {processes.cores().load}, tmp_path / "log")

    def drive(_: float) -> Load:
        before = running.cpu_seconds()
        while code == BUSY and running.cpu_seconds() == before:
            continue
        return load

    return Subject(Ask("program", "1k", "spins"), running, right, drive)


def test_each_round_has_everybody_once_and_starts_one_further_on() -> None:
    """Nobody always runs first, nor always after the same other."""
    assert list(compare.turns(3, 2)) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 0)]


def test_what_is_compared_runs_side_by_side(tmp_path: Path) -> None:
    """One traffic after the other, each program in its place."""
    one = subject(tmp_path, "pass", Load(1, 0, 1.0))
    one.running.stop()
    asks = [Ask(program, traffic, "") for program in ("nginx", "envoy", "bare") for traffic in ("1k", "150k")]
    found = compare.side_by_side([replace(one, ask=ask) for ask in (*asks, Ask("bare", "json", ""))])
    assert ["1k"] * 3 + ["150k"] * 3 + ["json"] == [each.ask.traffic for each in found]
    assert ["nginx", "envoy", "bare"] * 2 + ["bare"] == [each.ask.program for each in found]


def test_cpu_is_divided_by_the_requests_that_were_answered(tmp_path: Path) -> None:
    """Errors are not requests served."""
    busy = subject(tmp_path, BUSY, Load(requests=1010, errors=10, seconds=2.0))
    sample = compare.measure(busy, 1.0)
    busy.running.stop()
    assert sample.per_second == 500.0
    assert sample.errors == 10
    assert sample.cpu_us >= 10.0  # one tick of 10 ms over 1 000 requests


def test_a_program_that_answers_nothing_is_left_out_with_a_note(tmp_path: Path) -> None:
    """The others' table is still printed."""
    idle = subject(tmp_path, "import time; time.sleep(60)", Load(requests=0, errors=0, seconds=1.0))
    notes: list[Note] = []
    rows = compare.run_rounds([idle], 1.0, 2, notes)
    idle.running.stop()
    assert rows == ()
    assert [note.failure for note in notes] == [True]
    assert "left out in round 1: 0 answers" in notes[0].text


def test_a_program_that_answers_wrongly_is_not_loaded(tmp_path: Path) -> None:
    """Its figures would say nothing."""
    busy = subject(tmp_path, BUSY, Load(1, 0, 1.0))
    notes: list[Note] = []
    broken = Subject(busy.ask, busy.running, wrong, busy.drive)
    assert compare.warmed([broken], notes) == []
    busy.running.stop()
    assert notes[0].text == "program 1k: skipped: 1k: status 500"


@pytest.mark.parametrize("wrong_option", [["--seconds", "0"], ["--rounds", "0"], ["--only", "apache"]])
def test_settings_out_of_range_are_refused(wrong_option: list[str]) -> None:
    """Exit status 2, as for every command used wrongly."""
    with pytest.raises(SystemExit) as stopped:
        compare.main(wrong_option)
    assert stopped.value.code == 2
