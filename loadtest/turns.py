"""Two trees of this repository in turns: what a change did to a request that is asked at once, on a machine whose pace changes.

Each tree answers in a process of its own, on the same core, a few milliseconds at a time (see the stage of loadtest.stages). What
is compared is each turn with the first tree's turn just before it, which the machine's pace hardly tells apart.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ASKS = 200  # in one turn


class Tree:
    """A tree's process."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--answer", str(root)]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> float:
        """Microseconds of one request. Raises EOFError where the tree cannot be measured."""
        said, heard = self._process.stdin, self._process.stdout
        assert said is not None
        assert heard is not None
        said.write("\n")
        said.flush()
        line = heard.readline()
        if not line:
            raise EOFError
        return float(line)

    def close(self) -> None:
        """Ends the process."""
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


def measured(trees: Sequence[Tree], turns: int) -> list[list[float]]:
    """Microseconds by turn and tree; the first turn of each warms it up. Raises EOFError."""
    for tree in trees:
        tree.turn()
    return [[tree.turn() for tree in trees] for _ in range(turns)]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 2: a tree cannot be."""
    parser = argparse.ArgumentParser(
        "loadtest.turns",
        description=__doc__,
        epilog="example: git worktree add /tmp/old HEAD~1 && python -m loadtest.turns /tmp/old .",
    )
    parser.add_argument(
        "trees", nargs="*", type=Path, help="folders with a tree each; the first is what the others are compared with"
    )
    parser.add_argument("--turns", type=int, default=500, help="of each (default 500)")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.answer is not None:
        asyncio.run(answer(options.answer.resolve()))
        return 0
    if not options.trees or options.turns < 1:
        parser.error("name at least one tree, and one turn")
    trees = [Tree(tree) for tree in options.trees]
    try:
        turns = measured(trees, options.turns)
    except (EOFError, BrokenPipeError):
        print("nothing measured: a tree has no stage that is asked at once, as it said above", file=sys.stderr)
        return 2
    finally:
        for tree in trees:
            tree.close()
    for at, tree in enumerate(options.trees):
        took = sorted(turn[at] for turn in turns)
        ratio = median(turn[at] / turn[0] for turn in turns)
        print(f"{tree}: {took[0]:.2f} µs at the quickest, {median(took):.2f} in the middle; {ratio:.3f} × {options.trees[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
