# ruff: noqa: T201 - a program: it prints
"""The long run of the fuzz targets: round after round with new seeds until the time is over or something is found."""

from __future__ import annotations

import argparse
import importlib
import secrets
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from hypothesis import HealthCheck, seed, settings

EXAMPLES = 500  # of each target in each round


def targets(only: str) -> list[tuple[str, Callable[[], None]]]:
    """Every test beside this file whose name holds `only`."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.fuzz.{path.stem}")
        found += [(name, test) for name, test in vars(module).items() if name.startswith("test_") and only in name]
    return found


def hunt(seconds: float, first: int, only: str) -> int:
    """Runs until the time is over: 0. Whatever is found ends it, with the smallest example that shows it: 1."""
    chosen, ends, number = targets(only), monotonic() + seconds, first
    if not chosen:
        print(f"no target's name holds {only!r}")
        return 2
    while True:
        for name, test in chosen:
            left = ends - monotonic()
            if left <= 0:
                return 0
            print(f"{left:6.0f} s left  seed {number}  {name}", flush=True)
            try:
                seed(number)(test)()
            except Exception:  # noqa: BLE001 - what is found may be anything
                traceback.print_exc()
                print(f"\nfound by {name}; it is kept, and the test suite tries it first. Again:")
                print(f"  make fuzz FUZZ_SEED={number} FUZZ_ONLY={name}")
                return 1
        number += 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; each later one has the next")
    parser.add_argument("--only", default="", help="targets whose name holds this")
    given = parser.parse_args()
    settings.register_profile("fuzz", max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    settings.load_profile("fuzz")  # before the targets are imported: they take their settings then
    return hunt(given.seconds, secrets.randbelow(1 << 32) if given.seed is None else given.seed, given.only)


if __name__ == "__main__":
    sys.exit(main())
