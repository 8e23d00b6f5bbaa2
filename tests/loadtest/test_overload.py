"""The course of an overload, in figures."""

from __future__ import annotations

import pytest

from loadtest import overload
from loadtest.crowd import GAVE_UP, Told
from loadtest.overload import Course, Phase, Seen, bars, course, line, normal_after, verdicts
from loadtest.pacing import NANOSECONDS as S

PLANNED = (Phase("80 %", 0.8, 1.0), Phase("5 ×", 5.0, 1.0), Phase("10 ×", 10.0, 1.0), Phase("after", 0.8, 1.0))


def made(program: str = "penstock", five: float = 190.0) -> Course:
    phases = (
        Seen("80 %", 160.0, 160.0, 50.0, 0.0, 0.0, 0),
        Seen("5 ×", 1000.0, five, 90.0, 800.0, 1.0, 0),
        Seen("10 ×", 2000.0, 198.0, 40.0, 1800.0, 1.0, 2),
    )
    return Course(program, "four", "smooth", phases, 0.25, 0.3)


def test_a_course_is_cut_into_its_phases() -> None:
    """By the moment a question was due; answers count where they came; what came too late, or not at all, is silence."""
    told = [Told(0, 200, 0.1), Told(S - 1, 200, 0.2), Told(S, 503, 0.001), Told(S + 5, 200, 0.7), Told(S + 6, GAVE_UP, 0.5)]
    found = course("penstock", "four", "smooth", (PLANNED, told, 0.002))
    first, second = found.phases[:2]
    assert (2.0, 1.0, 200.0, 0.0, 0) == (first.offered, first.goodput, first.p99, first.refused, first.silent)
    assert (3.0, 1.0, 1.0, 1.0, 2) == (second.offered, second.goodput, second.refused, second.refusal_p99, second.silent)
    assert 2.0 == found.late_p99


def test_normal_is_when_nearly_all_are_answered_again() -> None:
    """The first window of which that holds; never, if there is none."""
    late = [Told(index * S // 20, 503 if index < 7 else 200, 0.01) for index in range(40)]
    assert 0.5 == normal_after(late, 0, 2.0)
    assert 2.0 == normal_after([], 0, 2.0)


def test_the_bars_are_those_of_the_issue() -> None:
    """Shares of the own peak and of HAProxy's, and each kept or not."""
    kept = {bar.what: (round(bar.seen, 2), bar.kept) for bar in bars(made(), made("haproxy", 200.0))}
    assert (95.96, True) == kept["answers in time at 5 ×, of its own peak"]
    assert (95.0, True) == kept["answers in time at 5 ×, of HAProxy's"]
    assert (1.8, True) == kept["p99 of the answers at 5 ×, times that at 80 %"]
    assert 5 == len(bars(made(), None))
    lines = verdicts([made(five=100.0), made("haproxy", 200.0)])
    assert 2 == sum(each.endswith("MISSED") for each in lines)


def test_a_row_says_what_was_seen() -> None:
    """A phase that a program was not put through is a dash."""
    assert ("four, smooth", "penstock", "160", "50", "190", "90", "1.0", "198", "0.25", "2") == line(made())
    short = Course("naive", "four", "smooth", made().phases[:2], 10.0, 0.1)
    assert "–" == line(short)[7]


def test_wrong_options_are_refused() -> None:
    """With the parser's status."""
    for wrong in (["--seconds", "0"], ["--forms", "round"]):
        with pytest.raises(SystemExit) as caught:
            overload.main(wrong)
        assert 2 == caught.value.code
