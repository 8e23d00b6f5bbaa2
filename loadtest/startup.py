"""Measures how long Penstock takes from start to ready, and what memory it then holds."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from loadtest import backend, processes
from loadtest.penstock import KEYS, Setup, prepare
from loadtest.processes import Place, StartError

SECONDS_GOAL = 1.5
RSS_MB_GOAL = 80.0


def once(setup: Setup) -> tuple[float, float]:
    """Start it, wait until it is ready, stop it: seconds to ready and resident MB (10^6 bytes) then. Raises StartError."""
    began = time.monotonic()
    running = setup.launch()
    try:
        running.wait_ready(setup.ready, every=0.005)
        return time.monotonic() - began, running.rss_bytes() / 1e6
    finally:
        running.stop()


def report(measured: Sequence[tuple[float, float]]) -> tuple[str, bool]:
    """The medians beside their goals, and whether both are reached."""
    times, sizes = [seconds for seconds, _ in measured], [size for _, size in measured]
    in_time, in_size = median(times) <= SECONDS_GOAL, median(sizes) <= RSS_MB_GOAL
    lines = (
        f"start to ready  {median(times):.2f} s ({min(times):.2f}..{max(times):.2f})  "
        f"goal ≤ {SECONDS_GOAL:g} s: {'reached' if in_time else 'missed'}",
        f"RSS when ready  {median(sizes):.1f} MB ({min(sizes):.1f}..{max(sizes):.1f})  "
        f"goal ≤ {RSS_MB_GOAL:g} MB: {'reached' if in_size else 'missed'}",
    )
    return "\n".join(lines), in_time and in_size


def main(arguments: Sequence[str] | None = None) -> int:
    """0: both goals reached; 1: not; 2: it did not start."""
    example = "example: python -m loadtest.startup --times 5"
    parser = argparse.ArgumentParser("loadtest.startup", description=__doc__, epilog=example)
    parser.add_argument("--times", type=int, default=5, help="how often it is started (default 5)")
    options = parser.parse_args(arguments)
    if options.times < 1:
        parser.error("--times is at least 1")
    processes.stop_on_sigterm()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-start-")))
            cores = processes.cores()
            fixed, port = backend.start(folder, {cores.load})
            stack.callback(fixed.stop)
            setup = prepare(Place(folder, port, frozenset({cores.subject})), KEYS)
            text, reached = report([once(setup) for _ in range(options.times)])
    except StartError as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    print(text)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
