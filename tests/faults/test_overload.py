"""Five and ten times as much as a backend can do: what it can do is done, in time, and the rest is told no at once."""

from __future__ import annotations

import itertools
import shutil

import pytest

from loadtest import overload, processes
from loadtest.overload import Bar, Course, Phase
from tests.faults.figures import LONG, Figures

pytestmark = pytest.mark.slow

SECONDS = 6.0 if LONG else 1.5
RUNS = list(itertools.product(("single", "four"), ("smooth", "bursty"))) if LONG else [("four", "smooth")]
BESIDE = (Phase("80 %", 0.8, 1.0), Phase("5 ×", 5.0, SECONDS), Phase("after", 0.8, 0.5))
LATE = 2.0 if LONG else 10.0  # milliseconds; clients that were later than that have measured themselves, or the machine
TIMES = 3


def course(program: str, form: str, arrivals: str, planned: tuple[Phase, ...]) -> Course:
    """One in which the clients were in time; where CI's machine has none to give, nothing can be measured."""
    found = overload.measure(program, form, arrivals, planned, 0)
    for seed in range(1, TIMES):
        if found.late_p99 > LATE:
            found = overload.measure(program, form, arrivals, planned, seed)
    if found.late_p99 > LATE and not LONG:
        pytest.skip(f"the clients themselves were {found.late_p99:.0f} ms late")
    return found


def keep(figures: Figures, what: str, bar: Bar) -> None:
    """Notes one figure. CI's few answers have no p99 to speak of."""
    if bar.unit in (" ms", " s"):
        seconds = 1000 if bar.unit == " ms" else 1
        figures.within("Overload", what, bar.seen / seconds, bar.bar / seconds)
    elif bar.least:
        figures.at_least("Overload", what, bar.seen, bar.bar, bar.unit)
    elif LONG:
        figures.at_most("Overload", what, bar.seen, bar.bar, bar.unit)


@pytest.mark.parametrize(("form", "arrivals"), RUNS)
def test_what_a_backend_can_do_is_done(form: str, arrivals: str, figures: Figures) -> None:
    """At five and ten times its capacity nearly all of it is used, quickly; who is refused hears it at once; then all is well."""
    processes.many_files()
    mine = course("penstock", form, arrivals, overload.phases(SECONDS, after=2.0 if LONG else 1.0))
    haproxy = LONG and shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/bin") is not None
    other = course("haproxy", form, arrivals, BESIDE) if haproxy else None
    for bar in overload.bars(mine, other):
        keep(figures, f"{form}, {arrivals}: {bar.what}", bar)
