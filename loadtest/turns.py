"""Two trees of this repository in turns: what a change did to a request that is asked at once, on a machine whose pace changes.

Each tree answers in a process of its own, all on one core, a few milliseconds at a time (the stage of loadtest.stages). Each turn
is compared with the first tree's of the same round: within milliseconds the machine's pace hardly changes.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

import uvloop

ASKS = 200  # in one turn


class Tree:
    """A tree's process. Raises OSError where there is no such folder."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--answer", str(root.resolve())]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> float:
        """Microseconds of one request. Raises BrokenPipeError where the tree cannot be measured."""
        said, heard = self._process.stdin, self._process.stdout
        assert said is not None
        assert heard is not None
        said.write("\n")
        said.flush()
        line = heard.readline()
        if not line:
            raise BrokenPipeError
        return float(line)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


async def answer(root: Path) -> None:
    """Times a turn for each line of standard input."""
    sys.path[0] = str(root)
    from loadtest import stages  # of that tree

    with tempfile.TemporaryDirectory(prefix="penstock-turns-") as folder:
        once = (await stages.prepare(Path(folder), 1)).asked_at_once
    gc.collect()
    gc.freeze()
    gc.disable()
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(ASKS):
            once()
        print((time.perf_counter() - began) / ASKS * 1e6, flush=True)


def measured(roots: Sequence[Path], rounds: int) -> list[list[float]]:
    """Microseconds by round and tree, each round begun by the next tree; the first turns warm up. Raises OSError."""
    with ExitStack() as stack:
        trees: list[Tree] = []
        for root in roots:
            trees.append(Tree(root))
            stack.callback(trees[-1].close)
        took = [[0.0] * len(trees) for _ in range(rounds + 1)]
        for begins, turns in enumerate(took):
            for place in range(len(trees)):
                at = (begins + place) % len(trees)
                turns[at] = trees[at].turn()
        return took[1:]


def line(took: Sequence[Sequence[float]], at: int) -> str:
    """What is said of the tree at this place: its microseconds, and its ratio to the first one, with the quartiles of both."""
    own, ratios = [turn[at] for turn in took], [turn[at] / turn[0] for turn in took]
    (low, _, high), (least, _, most) = quantiles(own, n=4), quantiles(ratios, n=4)
    return f"{median(own):.2f} µs ({low:.2f} … {high:.2f}), {median(ratios):.3f} × the first ({least:.3f} … {most:.3f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 2: a tree cannot be."""
    example = "example: git worktree add /tmp/old HEAD~1 && python -m loadtest.turns /tmp/old ."
    parser = argparse.ArgumentParser("loadtest.turns", description=__doc__, epilog=example)
    parser.add_argument("trees", nargs="*", type=Path, help="a folder each; the first is what others are compared with")
    parser.add_argument("--rounds", type=int, default=100, help="turns of each after each start (default 100)")
    parser.add_argument("--starts", type=int, default=9, help="how often all are started: no two processes are alike (default 9)")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.answer is not None:
        uvloop.run(answer(options.answer))
        return 0
    if not options.trees or options.rounds < 2 or options.starts < 1:
        parser.error("name at least one tree, two rounds and one start")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # the trees have it from here: cores differ in pace
    try:
        took = [turns for _ in range(options.starts) for turns in measured(options.trees, options.rounds)]
    except OSError as reason:
        print(f"nothing measured: a tree cannot be, as it may have said above: {reason}", file=sys.stderr)
        return 2
    finally:
        os.sched_setaffinity(0, cores)
    for at, tree in enumerate(options.trees):
        print(f"{tree}: {line(took, at)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
